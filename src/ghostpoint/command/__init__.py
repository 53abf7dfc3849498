"""The command ``ghostpoint``: a file per sub-command, the report, the folder of a reproduction, the
progress.
"""
