"""Visual query localization: where was the object in this picture last seen?"""
