//! Targets that are not read at all.

/// Why a request target is answered 400: two readers could take it for two different requests, or the API
/// server itself could not read it. The list is docs/request-targets.md, held by a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// Neither `/path` nor `http(s)://host/path`.
    #[error(
        "the request target must be a path that starts with '/', or an http or https URL with a plain host"
    )]
    TargetForm,
    /// A raw `#`.
    #[error(
        "the request target holds a '#', which no request may send; write %23 for the character"
    )]
    Fragment,
    /// A control byte, a blank, or an encoded control byte in the path.
    #[error("the request target holds a control byte or a blank")]
    ControlByte,
    /// `%` without two hexadecimal digits, in the path.
    #[error("the path holds a '%' that two hexadecimal digits do not follow")]
    BadEscape,
    /// `%2F`
    #[error(
        "the path holds an encoded slash (%2F), which readers take for a separator or for data"
    )]
    EncodedSlash,
    /// `\` or `%5C`
    #[error("the path holds a backslash, which readers take for a slash or for data")]
    Backslash,
    /// `.` or `..`, also encoded.
    #[error("the path holds a '.' or '..' segment, which readers resolve or keep")]
    DotSegment,
    /// `//`
    #[error("the path holds an empty segment ('//'), which readers merge or keep")]
    EmptySegment,
    /// Decodes to something that is not UTF-8.
    #[error("the path or a selector is not UTF-8 once decoded")]
    NotUtf8,
    /// `/api/v1/watch` with nothing behind it, which the API server answers with a 500.
    #[error("the path ends after its 'watch' or 'proxy' prefix and names no resource")]
    NoResource,
    /// More parameters than a reader takes before it drops them all (Go's `urlmaxqueryparams`).
    #[error("the query holds more than 10000 parameters, which some readers then drop altogether")]
    TooManyParameters,
}

impl Refusal {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 11] = [
        Self::TargetForm,
        Self::Fragment,
        Self::ControlByte,
        Self::BadEscape,
        Self::EncodedSlash,
        Self::Backslash,
        Self::DotSegment,
        Self::EmptySegment,
        Self::NotUtf8,
        Self::NoResource,
        Self::TooManyParameters,
    ];

    /// A stable word for logs, `policy explain` and tests.
    pub fn code(self) -> &'static str {
        match self {
            Self::TargetForm => "target-form",
            Self::Fragment => "fragment",
            Self::ControlByte => "control-byte",
            Self::BadEscape => "bad-escape",
            Self::EncodedSlash => "encoded-slash",
            Self::Backslash => "backslash",
            Self::DotSegment => "dot-segment",
            Self::EmptySegment => "empty-segment",
            Self::NotUtf8 => "not-utf8",
            Self::NoResource => "no-resource",
            Self::TooManyParameters => "too-many-parameters",
        }
    }
}
