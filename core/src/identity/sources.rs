//! What TLS takes from outside the machine, in one place.

use std::sync::Arc;

use rustls::{
    crypto::{SecureRandom, SupportedKxGroup},
    time_provider::{DefaultTimeProvider, TimeProvider},
};

use super::provider;

/// Everything in the TLS of an [`Identity`](crate::Identity) that differs from one run to the next:
/// two sources of randomness and a clock.
///
/// For simulators, which replace all three to repeat a run byte for byte: see
/// [`Identity::dangerous_credentials_with`](crate::Identity::dangerous_credentials_with). Nothing
/// else of the configuration can be changed here, so what is simulated is what runs.
#[derive(Debug, Clone)]
pub struct TlsSources {
    /// Randoms of hellos, tickets and their ids, and the order of extensions.
    pub random: &'static dyn SecureRandom,
    /// Key exchanges, the preferred one first. They draw their own ephemeral keys.
    pub kx_groups: Vec<&'static dyn SupportedKxGroup>,
    /// Wall-clock time, by which tickets age. Certificates do not.
    pub time: Arc<dyn TimeProvider>,
}

impl TlsSources {
    /// Those of production: randomness and time of the operating system, and the key exchanges that
    /// the features of this build chose.
    #[must_use]
    pub fn system() -> Self {
        Self {
            random: provider::system_random(),
            kx_groups: provider::kx_groups(),
            time: Arc::new(DefaultTimeProvider),
        }
    }
}
