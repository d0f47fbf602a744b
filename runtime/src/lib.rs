//! Engine traits and the executor of compiled programs.
