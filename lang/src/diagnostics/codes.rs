//! The table of all diagnostic codes. Each has a page in the book's catalogue and a file under `tests/fail`.

use super::Severity;
use serde::{Serialize, Serializer};

macro_rules! codes {
    ($($name:ident $code:literal $severity:ident $title:literal;)*) => {
        /// A diagnostic's code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $(#[doc = $title] $name,)* }

        impl Code {
            /// All codes in order.
            pub const ALL: &[Code] = &[$(Code::$name),*];

            /// Its name, e.g. `E0101`.
            pub fn name(self) -> &'static str {
                match self { $(Code::$name => $code,)* }
            }

            /// What it is about, in a few words.
            pub fn title(self) -> &'static str {
                match self { $(Code::$name => $title,)* }
            }

            /// Whether it is about what a target has: only builds and checks for one find it.
            pub fn is_of_target(self) -> bool {
                self.name().starts_with("E08")
            }

            /// Whether it is an error or a warning.
            pub fn severity(self) -> Severity {
                match self { $(Code::$name => Severity::$severity,)* }
            }
        }
    };
}

codes! {
    // Text and syntax.
    UnknownText "E0101" Error "text that begins no word of the language";
    Syntax "E0102" Error "syntax error";
    BadLiteral "E0103" Error "a literal with no value";
    Unclosed "E0104" Error "a bracket that is never closed";
    TooDeep "E0105" Error "nesting too deep";
    TooLarge "E0106" Error "a source file too large";

    // Names and modules.
    UnknownModule "E0201" Error "a module that is not there";
    UnknownName "E0202" Error "a name that means nothing here";
    DuplicateName "E0203" Error "a name declared twice";
    WrongKind "E0204" Error "a name that means something else";
    Cycle "E0205" Error "a declaration that needs itself";
    ImportCycle "E0206" Error "an import that names nothing";
    Misplaced "E0207" Error "a construct that does not belong here";
    UnknownField "E0208" Error "a field that is not there";
    UnknownMethod "E0209" Error "an operation that is not there";

    // Types and values.
    TypeMismatch "E0301" Error "a value of another type";
    Untyped "E0302" Error "a literal whose type cannot be told";
    OutOfRange "E0303" Error "a literal that does not fit its type";
    NotConstant "E0304" Error "a value that is not known at compile time";
    BadWidth "E0305" Error "a type or width that cannot be";
    ArgumentCount "E0306" Error "arguments that do not fit the parameters";
    NotExhaustive "E0307" Error "a match that leaves cases open";
    BadPattern "E0308" Error "a pattern that cannot match this";
    BadCast "E0309" Error "a conversion that is not there";
    Immutable "E0310" Error "an assignment to what cannot change";
    Diverges "E0311" Error "a block that must leave but does not";
    ConstantFault "E0312" Error "a constant expression without a value";
    BadRange "E0313" Error "a range that is not one";
    ValueUnused "E0314" Error "a value that goes nowhere";
    FieldSet "E0315" Error "fields missing or given twice";
    NoValue "E0316" Error "a value where there is none";

    // Packets and headers.
    HeaderNotSelected "E0401" Error "a header that nothing before it selects";
    BadHeader "E0402" Error "a header layout that cannot be";
    HeaderGone "E0403" Error "a header used where it is not established";
    ChecksumLost "E0404" Error "a rewrite that would break a checksum";
    AmbiguousHeader "E0405" Error "alternatives without what is used";
    BadPush "E0406" Error "a header that cannot be pushed or popped like this";

    // Elements, middleboxes and wiring.
    NotTotal "E0501" Error "a path that neither emits nor drops";
    EmitThenDrop "E0502" Error "a packet both emitted and dropped";
    NoHandler "E0503" Error "an input without a handler";
    Unconnected "E0504" Error "a port that is not connected";
    ConnectedTwice "E0505" Error "an output connected twice";
    WiringCycle "E0506" Error "wiring that goes in a circle";
    ContractBroken "E0507" Error "a packet that may not be what the port promises";
    BadWire "E0508" Error "a connection between things that do not fit";
    NoPacket "E0509" Error "a packet operation where there is no packet";
    HandlerTwice "E0510" Error "an event handled twice";

    // State.
    BadState "E0601" Error "a state declaration that cannot be";
    NoCapacity "E0602" Error "a table without a capacity";
    ControlWritten "E0603" Error "a control table written by a handler";
    InsertUnchecked "E0604" Error "an insertion whose failure is not handled";
    NotPure "E0605" Error "a change of state where only reading is allowed";
    GhostUsed "E0606" Error "ghost state that would change what the box does";
    BadLifetime "E0607" Error "a lifetime that cannot be";

    // Specifications and tests.
    SpecOnly "E0701" Error "a construct of specifications outside of them";
    BadProperty "E0702" Error "a property that cannot be";
    BadClaim "E0703" Error "a claim that does not fit its spec";
    TestOnly "E0704" Error "a construct of tests outside of them";
    BadTest "E0705" Error "a test that cannot be run";
    StateInSpec "E0706" Error "state named in a spec";

    // Targets.
    TargetWidth "E0801" Error "a value wider than the target's";
    TargetState "E0802" Error "state that the target cannot keep";
    TargetPacket "E0803" Error "packets that the target cannot send";
    TargetOperation "E0804" Error "an operation that the target does not have";
    TargetSize "E0805" Error "a program too large for the target";

    // Warnings.
    Unused "W0901" Warning "something declared and never used";
    UnreachableArm "W0902" Warning "an arm that never matches";
    UnreachableCode "W0903" Warning "statements that are never reached";
    NeverEmits "W0904" Warning "a path that is declared and never used";
    DocsIgnored "W0905" Warning "docs that document nothing";
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Code {
    type Err = String;

    fn from_str(text: &str) -> Result<Code, String> {
        let wanted = text.to_ascii_uppercase();
        Code::ALL.iter().copied().find(|c| c.name() == wanted).ok_or_else(|| format!("no diagnostic has the code `{text}`"))
    }
}
