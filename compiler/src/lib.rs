//! Passes, packing, parameter selection and level management.
