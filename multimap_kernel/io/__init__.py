"""Files and object stores in, files and object stores out; every conversion of convention happens here."""
