//! serde's view of a node, which leaves out what was set aside and knows where it reads.

use super::{Attempt, Failure, Steps, stand_in::StandIn};
use crate::config::yaml::{Entry, Node, Value};
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, Visitor};

/// A serde deserializer over a node.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) node: &'a Node,
    pub(super) steps: &'a Steps,
    pub(super) attempt: &'a Attempt,
}

impl<'a> Reader<'a> {
    fn list<'de, V: Visitor<'de>>(
        self,
        items: &'a [Node],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_seq(ListReader {
            parent: self,
            items: items.iter().enumerate(),
        })
    }

    fn map<'de, V: Visitor<'de>>(
        self,
        entries: &'a [Entry],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        let stand_ins = self
            .attempt
            .stood_in
            .iter()
            .filter(|(steps, _)| steps == self.steps)
            .map(|(_, key)| *key)
            .collect();
        visitor.visit_map(MapReader {
            parent: self,
            entries: entries.iter().enumerate(),
            stand_ins,
            current: None,
        })
    }

    fn child(self, index: usize) -> Steps {
        let mut steps = self.steps.clone();
        steps.push(index);
        steps
    }
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Failure;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Unsigned(value) => visitor.visit_u64(*value),
            Value::Signed(value) => visitor.visit_i64(*value),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::String(value) => visitor.visit_str(value),
            Value::List(items) => self.list(items, visitor),
            Value::Map(entries) => self.map(entries, visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if self.node.is_null() {
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        match &self.node.value {
            Value::String(text) => visitor.visit_enum(text.as_str().into_deserializer()),
            Value::Map(entries) if entries.len() == 1 => {
                visitor.visit_enum(de::value::MapAccessDeserializer::new(MapReader {
                    parent: self,
                    entries: entries.iter().enumerate(),
                    stand_ins: Vec::new(),
                    current: None,
                }))
            }
            Value::Null
            | Value::Bool(_)
            | Value::Unsigned(_)
            | Value::Signed(_)
            | Value::Float(_)
            | Value::List(_)
            | Value::Map(_) => self.deserialize_any(visitor),
        }
    }

    // Nothing after the colon is an empty list or map, as Kubernetes reads it.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if self.node.is_null() {
            return self.list(&[], visitor);
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if self.node.is_null() {
            return self.map(&[], visitor);
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.deserialize_map(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct tuple tuple_struct identifier ignored_any
    }
}

struct ListReader<'a> {
    parent: Reader<'a>,
    items: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
}

impl<'de> de::SeqAccess<'de> for ListReader<'_> {
    type Error = Failure;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Failure> {
        for (index, node) in self.items.by_ref() {
            let steps = self.parent.child(index);
            if self.parent.attempt.aside.contains(&steps) {
                continue;
            }
            let reader = Reader {
                node,
                steps: &steps,
                attempt: self.parent.attempt,
            };
            return match seed.deserialize(reader) {
                Ok(value) => Ok(Some(value)),
                Err(failure) => Err(failure.at(|| steps)),
            };
        }
        Ok(None)
    }
}

enum Current<'a> {
    Written(&'a Node, Steps),
    StandIn,
}

struct MapReader<'a> {
    parent: Reader<'a>,
    entries: std::iter::Enumerate<std::slice::Iter<'a, Entry>>,
    stand_ins: Vec<&'static str>,
    current: Option<Current<'a>>,
}

impl<'de> de::MapAccess<'de> for MapReader<'_> {
    type Error = Failure;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Failure> {
        for (index, entry) in self.entries.by_ref() {
            let steps = self.parent.child(index);
            if self.parent.attempt.aside.contains(&steps) {
                continue;
            }
            let key = seed.deserialize(entry.key.as_str().into_deserializer());
            return match key {
                Ok(key) => {
                    self.current = Some(Current::Written(&entry.value, steps));
                    Ok(Some(key))
                }
                Err(failure) => Err(Failure::at(failure, || steps)),
            };
        }
        match self.stand_ins.pop() {
            Some(key) => {
                self.current = Some(Current::StandIn);
                seed.deserialize(key.into_deserializer()).map(Some)
            }
            None => Ok(None),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Failure> {
        match self.current.take() {
            Some(Current::Written(node, steps)) => {
                let reader = Reader {
                    node,
                    steps: &steps,
                    attempt: self.parent.attempt,
                };
                seed.deserialize(reader)
                    .map_err(|failure| failure.at(|| steps))
            }
            Some(Current::StandIn) => seed.deserialize(StandIn).map_err(|failure| Failure {
                steps: None,
                missing: None,
                of_stand_in: true,
                ..failure
            }),
            None => Err(Failure::new(
                "a value was asked for before its key".to_owned(),
            )),
        }
    }
}
