//! The schema registry, by Confluent's REST interface.

use schemars::JsonSchema;
use serde::Deserialize;

/// Where the schema registry is.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
pub struct RegistryOptions {
    /// Its address.
    pub url: String,
}
