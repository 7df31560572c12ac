"""What a bundle holds: the pictures of a task as files, and back.

::

    PictureSource --clip_contents, photo_contents--> parts: covers, each with its bundle
    bundles --restored_contents--> files as they were, or groups of pictures for the task

An engine that carries files (``engines/file_engine.py``) hides the bundles (``payload/bundle.py``).
Nothing here depends on which engine that is: it says how many bytes a cover holds.
"""
