//! The naive evaluator over the model.
