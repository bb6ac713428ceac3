//! Walks over the bytes of an Avro value.

use std::sync::Arc;

use lakeward_core::{Error, Result};

use super::types::{Kind, Nullable, Record, Type};
use crate::format::codec::Take;
use crate::format::unreadable;

/// A place in a value.
pub(crate) struct Cursor<'a> {
    input: &'a [u8],
    at: usize,
    /// The union that the next value is of.
    nullable: Option<Nullable>,
    /// The record that the next value is, where it is one.
    record: Option<&'a Arc<Record>>,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(input: &'a [u8]) -> Self {
        Cursor { input, at: 0, nullable: None, record: None }
    }

    /// What the next value is.
    #[inline]
    pub(crate) fn expect(&mut self, nullable: Option<Nullable>, record: Option<&'a Arc<Record>>) {
        self.nullable = nullable;
        self.record = record;
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn back_to(&mut self, at: usize) {
        self.at = at;
    }

    /// The bytes since `from`.
    pub(crate) fn since(&self, from: usize) -> &'a [u8] {
        self.input.get(from..self.at).unwrap_or_default()
    }

    /// Passes over exactly these bytes if they follow.
    #[inline]
    pub(crate) fn eat_all(&mut self, bytes: &[u8]) -> bool {
        let found = self.input.get(self.at..).is_some_and(|rest| rest.starts_with(bytes));
        self.at += if found { bytes.len() } else { 0 };
        found
    }

    /// Nothing may be left.
    pub(crate) fn end(&self) -> Result<()> {
        match self.at == self.input.len() {
            true => Ok(()),
            false => Err(unreadable(format!("Avro: bytes are left at {}", self.at))),
        }
    }

    #[cold]
    fn ended(&self) -> Error {
        unreadable(format!("Avro: the record ends inside a value at byte {}", self.at))
    }

    /// The next bytes.
    #[inline]
    pub(crate) fn raw(&mut self, length: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(length);
        let bytes = end.and_then(|end| self.input.get(self.at..end)).ok_or_else(|| self.ended())?;
        self.at += length;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let rest = self.input.get(self.at..).and_then(|rest| rest.first_chunk());
        let bytes = *rest.ok_or_else(|| self.ended())?;
        self.at += N;
        Ok(bytes)
    }

    #[inline]
    pub(crate) fn long(&mut self) -> Result<i64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.input.get(self.at).ok_or_else(|| self.ended())?;
            self.at += 1;
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok((value >> 1).cast_signed() ^ -((value & 1).cast_signed()));
            }
        }
        Err(unreadable(format!("Avro: a number of more than 64 bits at byte {}", self.at)))
    }

    /// Bytes with their length, or text.
    #[inline]
    pub(crate) fn sized(&mut self) -> Result<&'a [u8]> {
        let length = usize::try_from(self.long()?).map_err(|_| unreadable("Avro: a negative length"))?;
        self.raw(length)
    }

    /// Passes over a value.
    pub(crate) fn skip(&mut self, ty: &Type) -> Result<()> {
        match &ty.kind {
            Kind::Null => {}
            Kind::Boolean => {
                self.raw(1)?;
            }
            Kind::Int { .. } | Kind::Enum => {
                self.long()?;
            }
            Kind::Float => {
                self.raw(4)?;
            }
            Kind::Double => {
                self.raw(8)?;
            }
            Kind::Bytes { .. } => {
                self.sized()?;
            }
            Kind::Fixed(size) => {
                self.raw(*size)?;
            }
            Kind::Array(item) => self.blocks(|cursor| cursor.skip(item))?,
            Kind::Map(value) => self.blocks(|cursor| {
                cursor.sized()?;
                cursor.skip(value)
            })?,
            Kind::Union(types) => {
                let index = usize::try_from(self.long()?).ok();
                let ty = index.and_then(|index| types.get(index));
                self.skip(ty.ok_or_else(|| unreadable("Avro: an index beyond its union"))?)?;
            }
            Kind::Record(record) => {
                for (_, ty) in &record.fields {
                    self.skip(ty)?;
                }
            }
        }
        Ok(())
    }

    /// The items of an array or map.
    fn blocks(&mut self, mut item: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        loop {
            let count = self.long()?;
            if count == 0 {
                return Ok(());
            }
            if count < 0 {
                // The block's bytes.
                self.long()?;
            }
            for _ in 0..count.unsigned_abs() {
                let at = self.at;
                item(self)?;
                if self.at == at {
                    return Err(unreadable("Avro: an array of items without bytes"));
                }
            }
        }
    }
}

impl Take for Cursor<'_> {
    #[inline]
    fn null(&mut self) -> Result<bool> {
        let null = match self.nullable {
            None => return Ok(false),
            Some(Nullable::First) => 0,
            Some(Nullable::Second) => 1,
        };
        match self.long()? {
            index @ 0..=1 => Ok(index == null),
            _ => Err(unreadable("Avro: an index beyond its union")),
        }
    }

    fn boolean(&mut self) -> Result<bool> {
        match self.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(unreadable("Avro: a boolean that is neither")),
        }
    }

    #[inline]
    fn int(&mut self) -> Result<i64> {
        self.long()
    }

    fn float(&mut self) -> Result<f32> {
        self.array().map(f32::from_le_bytes)
    }

    fn double(&mut self) -> Result<f64> {
        self.array().map(f64::from_le_bytes)
    }

    #[inline]
    fn text(&mut self) -> Result<&str> {
        std::str::from_utf8(self.sized()?).map_err(|_| unreadable("a text that is not UTF-8"))
    }

    #[inline]
    fn bytes(&mut self) -> Result<&[u8]> {
        self.sized()
    }

    fn geometry(&mut self) -> Result<(&[u8], Option<i32>)> {
        let record = self.record.ok_or_else(|| unreadable("Avro: a geometry that is no record"))?;
        let (mut wkb, mut srid) = (None, None);
        for (name, ty) in &record.fields {
            let (present, nullable) = ty.present()?;
            self.nullable = nullable;
            match name.as_str() {
                "wkb" | "srid" if self.null()? => {}
                "wkb" => wkb = Some(self.sized()?),
                "srid" => {
                    let number = self.long()?;
                    srid = Some(i32::try_from(number).map_err(|_| unreadable("an srid beyond 32 bits"))?);
                }
                _ if nullable.is_some() && self.null()? => {}
                _ => self.skip(present)?,
            }
        }
        Ok((wkb.ok_or_else(|| unreadable("Avro: a geometry without `wkb`"))?, srid))
    }

    fn floats(&mut self, into: &mut Vec<f32>) -> Result<()> {
        self.blocks(|cursor| {
            into.push(cursor.float()?);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::write::push_long;
    use super::*;

    proptest! {
        #[test]
        fn numbers_come_back(value: i64) {
            let mut bytes = Vec::new();
            push_long(value, &mut bytes);
            let mut cursor = Cursor::new(&bytes);
            prop_assert_eq!(cursor.long().unwrap(), value);
            cursor.end().unwrap();
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let ty = Type::parse(r#"{ "type": "map", "values": ["null", { "type": "array", "items": "string" }] }"#);
            let mut cursor = Cursor::new(&bytes);
            let read = cursor.skip(&ty.unwrap());
            prop_assert!(read.is_err() || cursor.at() <= bytes.len());
        }
    }

    #[test]
    fn the_ends_of_the_numbers_are_read() {
        for value in [i64::MIN, i64::MAX, 0, -1, 63, 64] {
            let mut bytes = Vec::new();
            push_long(value, &mut bytes);
            assert_eq!(Cursor::new(&bytes).long().unwrap(), value);
        }
        assert!(Cursor::new(&[0xFF; 11]).long().is_err());
    }
}
