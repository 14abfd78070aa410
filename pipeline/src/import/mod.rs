//! Gameplay that others recorded, into datasets.
