"""Visual Haystacks: which of many images answers a question."""
