//! Counts why an attacker has lost connections.

use std::{collections::BTreeMap, sync::Mutex};

use quinn_proto::ConnectionError;
use serde_json::{Value, json};

/// Lost connections by their reasons.
#[derive(Default)]
pub struct Losses(Mutex<BTreeMap<String, u64>>);

impl Losses {
    /// Counts one; without a reason nothing was heard of the server.
    pub fn add(&self, reason: Option<&ConnectionError>) {
        let reason = match reason {
            Some(ConnectionError::ApplicationClosed(close)) => {
                format!("code {:#x}", close.error_code.into_inner())
            }
            Some(reason) => reason.to_string(),
            None => "no answer".to_owned(),
        };
        if let Ok(mut reasons) = self.0.lock() {
            *reasons.entry(reason).or_default() += 1;
        }
    }

    /// How many, and how many of each reason.
    pub fn answer(&self) -> (u64, Value) {
        let reasons = self.0.lock().map(|reasons| reasons.clone());
        let reasons = reasons.unwrap_or_default();
        (reasons.values().sum(), json!(reasons))
    }
}
