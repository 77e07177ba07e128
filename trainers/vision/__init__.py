"""Training and measuring of models that read pictures beside text: their processor, rows, batches and likelihoods."""
