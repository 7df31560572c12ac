"""What a bundle holds: the pictures of a task as files, and back.

::

    PictureSource --clip_contents, photo_contents--> parts: a cover and its bundle (payload/bundle.py)
    bundles --restored_contents--> files as they were, or groups of pictures for the task

An engine that carries files (``engines/file_engine.py``) hides the bundles. Nothing here depends on
which engine that is: it says how many bytes a cover holds.
"""
