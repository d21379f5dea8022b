//! Audio quality measures, the online estimator and savings accounting.
