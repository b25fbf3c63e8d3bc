"""The file: its schema, the door to it, and every statement of SQL, grouped by what it is about.

May import core and codec. A verb `f(tx, …)` runs inside a transaction, under the connection's lock, in whatever thread
opened that; nothing here calls user code but codecs that read, or waits for anything but the file.
"""
