//! What is wrong with a program: one type for terminals, JSON and editors. Rendering is the callers' business.

pub mod codes;

pub use codes::Code;

use crate::span::Span;
use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The program means nothing.
    Error,
    /// The program means something, but probably not what was intended.
    Warning,
}

/// A place in the source with what is to be said about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Label {
    /// Where.
    pub span: Span,
    /// What is said; may be empty.
    pub text: String,
}

/// A change that would mend it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fix {
    /// What is replaced.
    pub span: Span,
    /// By what.
    pub replacement: String,
    /// What it does.
    pub message: String,
}

/// A finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Its code; the severity follows from it.
    pub code: Code,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// Where: the words that are wrong.
    pub primary: Label,
    /// Other places that matter.
    pub secondary: Vec<Label>,
    /// What else is worth knowing.
    pub notes: Vec<String>,
    /// How to mend it.
    pub fix: Option<Fix>,
}

impl Diagnostic {
    /// A finding at a place.
    pub fn new(code: Code, span: Span, message: impl Into<String>) -> Diagnostic {
        let primary = Label { span, text: String::new() };
        Diagnostic { code, message: message.into(), primary, secondary: Vec::new(), notes: Vec::new(), fix: None }
    }

    /// What to say at the primary place.
    pub fn here(mut self, text: impl Into<String>) -> Diagnostic {
        self.primary.text = text.into();
        self
    }

    /// Another place that matters.
    pub fn also(mut self, span: Span, text: impl Into<String>) -> Diagnostic {
        self.secondary.push(Label { span, text: text.into() });
        self
    }

    /// Something else worth knowing.
    pub fn note(mut self, text: impl Into<String>) -> Diagnostic {
        self.notes.push(text.into());
        self
    }

    /// How to mend it.
    pub fn fix(mut self, span: Span, replacement: impl Into<String>, message: impl Into<String>) -> Diagnostic {
        self.fix = Some(Fix { span, replacement: replacement.into(), message: message.into() });
        self
    }

    /// How bad it is.
    pub fn severity(&self) -> Severity {
        self.code.severity()
    }
}
