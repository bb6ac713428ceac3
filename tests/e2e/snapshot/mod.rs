//! Whole tables: the rows that are there when a pipeline begins, read while everything goes on.

mod between;
mod commands;
mod comparison;
pub(crate) mod fire;
mod harmless;
mod interrupted;
pub(crate) mod keys;
pub(crate) mod killed;
mod many_tables;
mod modes;
mod narrow;
pub(crate) mod pipeline;
mod prepared;
mod progress;
mod read_once;
mod replica;
mod slow_commits;
mod under_fire;
mod unlogged;
mod vanished;
