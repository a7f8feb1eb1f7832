//! Templates that only many calls, or a document, can tell: which words in a path are names.
//!
//! `learner` watches calls and finds them, `openapi` reads them from documents, `set` is what `endpoint()` asks.
//! **Invariant**: what was learnt depends on the calls, not on their order, while no bound is reached.

mod evidence;
pub mod learner;
pub mod openapi;
pub mod set;
mod settle;
mod tree;
mod vocabulary;

pub use learner::Learner;
pub use set::{Decided, TemplateSet};
