"""First-person tours of small rooms, rendered with MuJoCo, with exact instance ids.

MuJoCo and the wheels with the rooms and objects are not dependencies of the project; see
``data/sample/README.md`` for how to set up an environment that can run these modules.
"""
