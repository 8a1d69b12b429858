"""The multimap Jupyter kernel: a Python kernel with the verbs at hand and the ``%multimap`` magic."""
