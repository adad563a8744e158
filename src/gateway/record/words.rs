//! The texts of one request, in one allocation.
//!
//! A record outlives the request's head, so it copies what it will tell. Eight small strings would be
//! eight allocations on the path of every request.

/// Texts that a record keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gateway) enum Word {
    /// The target as far as it may be shown.
    Target,
    /// `User-Agent`.
    Agent,
    /// The cluster as it was asked for.
    Cluster,
    /// `get`, `list`, …
    Verb,
    /// API group; empty: the core group.
    Group,
    /// `v1`
    Version,
    /// `pods`; empty: not a resource.
    Resource,
    /// `log`
    Subresource,
    /// Empty: no namespace.
    Namespace,
    /// Empty: no name.
    Name,
}

/// How many kinds there are.
const KINDS: usize = Word::Name as usize + 1;
/// Room for the texts of nearly every request.
const USUAL: usize = 384;
/// Longest target that is kept (bytes): what is longer has a selector in it that nobody reads.
const LONGEST: usize = 2048;
/// Longest of the others: a name of Kubernetes has at most 253.
const LONGEST_NAME: usize = 512;

/// The texts.
#[derive(Clone, Debug, Default)]
pub(in crate::gateway) struct Words {
    text: String,
    /// Begin and end of each in `text`.
    spans: [(u32, u32); KINDS],
}

impl Words {
    /// Keeps a text, or its beginning. What was kept under the same kind is forgotten.
    pub(in crate::gateway) fn keep(&mut self, word: Word, text: &str) {
        if self.text.capacity() == 0 {
            self.text.reserve(USUAL);
        }
        let most = if word == Word::Target {
            LONGEST
        } else {
            LONGEST_NAME
        };
        let begin = self.text.len();
        self.text.push_str(cut(text, most));
        let span = (offset(begin), offset(self.text.len()));
        if let Some(place) = self.spans.get_mut(word as usize) {
            *place = span;
        }
    }

    /// The text; empty if there is none.
    pub(in crate::gateway) fn get(&self, word: Word) -> &str {
        let (begin, end) = self.spans.get(word as usize).copied().unwrap_or_default();
        self.text
            .get(begin as usize..end as usize)
            .unwrap_or_default()
    }
}

/// All texts together stay far below four gigabytes.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// The first `most` bytes, less a part of a character at their end.
pub(in crate::gateway) fn cut(text: &str, most: usize) -> &str {
    let end = text.floor_char_boundary(most);
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_is_found_again_and_bounded() {
        let mut words = Words::default();
        assert_eq!(words.get(Word::Name), "");
        words.keep(Word::Verb, "get");
        words.keep(Word::Name, "a");
        words.keep(Word::Target, "");
        words.keep(Word::Name, "b");
        assert_eq!(words.get(Word::Verb), "get");
        assert_eq!(words.get(Word::Name), "b");
        assert_eq!(words.get(Word::Target), "");
        assert_eq!(words.get(Word::Group), "");
        // Three bytes a character: the bound falls into one.
        for (word, most) in [(Word::Agent, LONGEST_NAME), (Word::Target, LONGEST)] {
            words.keep(word, &"€".repeat(LONGEST));
            assert_eq!(words.get(word), "€".repeat(most / 3));
        }
    }
}
