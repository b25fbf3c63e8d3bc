"""What people look at: notebook, pictures, report and web page. It reads through api.

May import api and what is below it. It runs in the thread that asks, and the web page in threads of its own.
"""
