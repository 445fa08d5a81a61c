//! Leniency towards JSON as Go programs write it.

use serde::{Deserialize, Deserializer};

/// Go writes an empty list or map as `null` now and then.
pub(crate) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}
