//! Answers to questions for living keys ([`lakeward_core::keys`]), on their way from the async side to the
//! decoder.

use std::sync::{Mutex, PoisonError};

use lakeward_core::{LivingKeys, Result};

/// The latest answer, until somebody takes it: one question is open at a time.
#[derive(Default)]
pub(crate) struct KeyAnswers(Mutex<Option<(u64, Result<LivingKeys>)>>);

impl KeyAnswers {
    pub(super) fn set(&self, asked: u64, answer: Result<LivingKeys>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((asked, answer));
    }

    /// The answer to a question, if it is there.
    pub(super) fn take(&self, asked: u64) -> Option<Result<LivingKeys>> {
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        latest.take_if(|(of, _)| *of == asked).map(|(_, answer)| answer)
    }

    /// Nobody waits for what is there.
    pub(super) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
