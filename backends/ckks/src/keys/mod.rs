//! Keys. Only a client has a [`SecretKey`]; everything else here is public.

mod galois;
mod public;
mod secret;
mod switch;

pub use galois::{GaloisKey, GaloisKeys};
pub use public::PublicKey;
pub use secret::SecretKey;
pub use switch::{KeySwitchKey, RelinearizationKeys};

pub(crate) use public::{expand, mask};
