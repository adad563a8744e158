//! Whether a label selector parses, as `apimachinery/pkg/labels/selector.go` decides it. What it selects is
//! the cluster's affair.

/// A token of the selector language. Identifiers may be empty: a NUL byte ends one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    End,
    Open,
    Close,
    Comma,
    Not,
    /// `=`, `==`, `!=`
    Equality,
    /// `<`, `>`
    Order,
    /// `in`, `notin`: an operator after a key, an identifier elsewhere.
    Set(&'a str),
    Word(&'a str),
}

/// Whether the selector parses; the empty one does.
pub(super) fn parses(selector: &str) -> bool {
    let mut parser = Parser {
        tokens: scan(selector),
        position: 0,
    };
    parser.requirements().is_some()
}

fn scan(selector: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = selector;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let (token, length) = next_token(rest);
        tokens.push(token);
        if token == Token::End {
            return tokens;
        }
        rest = rest.get(length..).unwrap_or("");
    }
}

fn next_token(rest: &str) -> (Token<'_>, usize) {
    let mut bytes = rest.bytes();
    let (first, second) = (bytes.next(), bytes.next());
    match (first, second) {
        // Upstream's reader returns 0 at the end, and so takes a NUL byte for the end.
        (None | Some(0), _) => (Token::End, 0),
        (Some(b'=' | b'!'), Some(b'=')) => (Token::Equality, 2),
        (Some(b'='), _) => (Token::Equality, 1),
        (Some(b'!'), _) => (Token::Not, 1),
        (Some(b'>' | b'<'), _) => (Token::Order, 1),
        (Some(b'('), _) => (Token::Open, 1),
        (Some(b')'), _) => (Token::Close, 1),
        (Some(b','), _) => (Token::Comma, 1),
        (Some(_), _) => word(rest),
    }
}

fn word(rest: &str) -> (Token<'_>, usize) {
    let stop = |c: char| {
        matches!(
            c,
            '=' | '!' | '(' | ')' | ',' | '>' | '<' | ' ' | '\t' | '\r' | '\n' | '\0'
        )
    };
    let end = rest.find(stop).unwrap_or(rest.len());
    let (word, after) = rest.split_at(end);
    // A NUL that ends a word is eaten with it.
    let length = end + usize::from(after.starts_with('\0'));
    match word {
        "in" | "notin" => (Token::Set(word), length),
        _ => (Token::Word(word), length),
    }
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    position: usize,
}

/// `None` anywhere below means: does not parse.
impl<'a> Parser<'a> {
    fn peek(&self) -> Token<'a> {
        self.tokens
            .get(self.position)
            .copied()
            .unwrap_or(Token::End)
    }

    fn take(&mut self) -> Token<'a> {
        let token = self.peek();
        self.position += 1;
        token
    }

    fn requirements(&mut self) -> Option<()> {
        if self.peek() == Token::End {
            return Some(());
        }
        loop {
            self.requirement()?;
            let token = self.take();
            if token == Token::End {
                return Some(());
            }
            if token != Token::Comma {
                return None;
            }
        }
    }

    fn requirement(&mut self) -> Option<()> {
        let negated = self.peek() == Token::Not;
        if negated {
            self.take();
        }
        if !is_label_key(self.word()?) {
            return None;
        }
        if negated || matches!(self.peek(), Token::End | Token::Comma) {
            return Some(());
        }
        let operator = self.take();
        if matches!(operator, Token::Set(_)) {
            return self.value_set();
        }
        let in_order = operator == Token::Order;
        if !in_order && operator != Token::Equality {
            return None;
        }
        let value = self.exact_value()?;
        let fits = is_label_value(value) && (!in_order || value.parse::<i64>().is_ok());
        fits.then_some(())
    }

    fn exact_value(&mut self) -> Option<&'a str> {
        if matches!(self.peek(), Token::End | Token::Comma) {
            return Some("");
        }
        self.word()
    }

    fn word(&mut self) -> Option<&'a str> {
        if let Token::Word(word) | Token::Set(word) = self.take() {
            return Some(word);
        }
        None
    }

    fn value_set(&mut self) -> Option<()> {
        if self.take() != Token::Open {
            return None;
        }
        loop {
            if self.peek() == Token::Close {
                self.take();
                return Some(());
            }
            if self.peek() == Token::Comma {
                self.take();
                continue;
            }
            if !is_label_value(self.word()?) || !matches!(self.peek(), Token::Comma | Token::Close)
            {
                return None;
            }
        }
    }
}

/// `content.IsLabelKey`: an optional DNS subdomain and a slash, then a name.
pub(in crate::authz) fn is_label_key(key: &str) -> bool {
    match key.split_once('/') {
        None => is_name(key),
        Some((prefix, name)) => is_subdomain(prefix) && is_name(name),
    }
}

/// `content.IsLabelValue`: empty, or a name.
pub(in crate::authz) fn is_label_value(value: &str) -> bool {
    value.is_empty() || is_name(value)
}

fn is_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    name.len() <= 63
        && name.bytes().all(inner)
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.ends_with(|c: char| c.is_ascii_alphanumeric())
}

fn is_subdomain(name: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= 253
        && name.split('.').all(|label| {
            label.chars().all(|c| alphanumeric(c) || c == '-')
                && label.starts_with(alphanumeric)
                && label.ends_with(alphanumeric)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_parse_as_upstream_parses_them() {
        for good in [
            "",
            " ",
            "a",
            "!a",
            "! a",
            "a=b",
            "a==b",
            "a!=b",
            "a=",
            "a=,b",
            "a in (b)",
            "a in ()",
            "a in (,)",
            "a in (b,,c)",
            "a notin (x,y),z",
            "in",
            "in in (in)",
            "notin=in",
            "x.io/a=b",
            "a>1",
            "a<2",
            "a = b",
            "a in (in,notin)",
            "a=b \0garbage((",
            "a in (,b)",
        ] {
            assert!(parses(good), "{good}");
        }
        for bad in [
            ",",
            "a,",
            "=b",
            "a=b=c",
            "a b",
            "!",
            "!a=b",
            "a in",
            "a in b",
            "a in (",
            "a in (b",
            "a in (b c)",
            "a in ((",
            "-a",
            "a=-",
            "a>x",
            "a>",
            "a>-1",
            "X.io/a",
            "/a",
            "a/",
            "a/b/c",
            "a in (b)c",
            "a!b",
            "ä=b",
            "a=(b)",
            "a=b\0garbage",
            "a in (!b)",
            &"k".repeat(64),
        ] {
            assert!(!parses(bad), "{bad}");
        }
    }
}
