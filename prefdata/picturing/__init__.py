"""What stands behind `prefdata.pictures`: addresses, fetching, the workers that decode, what is measured, the store.

A picture is opened in one of the workers and nowhere else; the process that asks never loads a decoder.
"""
