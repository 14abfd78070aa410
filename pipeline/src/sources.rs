//! Windows and pairs of a dataset as training sources.
