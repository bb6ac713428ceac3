//! How the values of one registered schema go into the columns of one table version: settled once for each
//! pair of the two.

use std::sync::Arc;

use lakeward_core::Result;

use super::types::{Kind, Nullable, Record, Type};
use crate::format::codec::Codec;
use crate::format::layout::Layout;
use crate::format::options::{BinaryMode, DecimalMode};
use crate::format::unreadable;

/// The plan of an envelope.
pub(crate) struct Plan {
    pub(crate) fields: Vec<(Role, Type)>,
    /// The fields of `before` and `after`.
    pub(crate) image: Image,
}

/// What a field of an envelope is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Before,
    After,
    Source,
    Op,
    Other,
}

/// The plan of an image or a key.
pub(crate) struct Image {
    pub(crate) fields: Vec<Field>,
}

/// A field of an image.
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) column: usize,
    pub(crate) nullable: Option<Nullable>,
    /// The record that a geometry is.
    pub(crate) record: Option<Arc<Record>>,
}

impl Plan {
    pub(crate) fn new(envelope: &Type, layout: &Layout) -> Result<Plan> {
        let Some(record) = envelope.record() else {
            return Err(unreadable("an Avro value that is no record"));
        };
        let mut image = None;
        let field = |(name, ty): &(String, Type)| {
            let role = match name.as_str() {
                "before" => Role::Before,
                "after" => Role::After,
                "source" => Role::Source,
                "op" => Role::Op,
                _ => Role::Other,
            };
            if role == Role::After {
                image = ty.record().map(|record| Image::new(record, layout));
            }
            (role, ty.clone())
        };
        let fields = record.fields.iter().map(field).collect();
        let image = image.ok_or_else(|| unreadable("an Avro envelope without `after`"))??;
        image.must_be_whole(layout)?;
        Ok(Plan { fields, image })
    }
}

impl Image {
    pub(crate) fn new(record: &Record, layout: &Layout) -> Result<Image> {
        let field = |(likely, (name, ty)): (usize, &(String, Type))| {
            let Some(column) = layout.place(name.as_bytes(), likely) else {
                return Err(unreadable(format!("field `{name}` is no column of the table's version")));
            };
            let (present, nullable) = ty.present()?;
            let codec = layout.fields.get(column).map(|field| field.codec);
            if !codec.is_some_and(|codec| fits(codec, present)) {
                let message = format!("field `{name}` is not of the type that its column is written as");
                return Err(unreadable(message));
            }
            Ok(Field { name: name.clone(), column, nullable, record: present.record().cloned() })
        };
        Ok(Image { fields: record.fields.iter().enumerate().map(field).collect::<Result<_>>()? })
    }

    fn must_be_whole(&self, layout: &Layout) -> Result<()> {
        for (column, field) in layout.fields.iter().enumerate() {
            if !self.fields.iter().any(|own| own.column == column) {
                return Err(unreadable(format!("the record's schema lacks column `{}`", field.name)));
            }
        }
        Ok(())
    }
}

/// Whether a codec reads values of this type.
fn fits(codec: Codec, ty: &Type) -> bool {
    let decimal = |mode| match mode {
        DecimalMode::Precise => matches!(ty.kind, Kind::Bytes { text: false }),
        DecimalMode::String => matches!(ty.kind, Kind::Bytes { text: true }),
        DecimalMode::Double => matches!(ty.kind, Kind::Double),
    };
    match codec {
        Codec::Boolean => matches!(ty.kind, Kind::Boolean),
        Codec::Int
        | Codec::UnsignedLong
        | Codec::Days
        | Codec::TimeMicros
        | Codec::TimeMillis
        | Codec::EpochMicros
        | Codec::EpochMillis => matches!(ty.kind, Kind::Int { .. }),
        Codec::Float => matches!(ty.kind, Kind::Float),
        Codec::Double => matches!(ty.kind, Kind::Double),
        Codec::Text
        | Codec::IsoDate
        | Codec::IsoTime
        | Codec::IsoTimestamp
        | Codec::Zoned { .. }
        | Codec::Binary(BinaryMode::Base64 | BinaryMode::Base64UrlSafe | BinaryMode::Hex) => {
            matches!(ty.kind, Kind::Bytes { text: true })
        }
        Codec::Binary(BinaryMode::Bytes) | Codec::Bits => matches!(ty.kind, Kind::Bytes { text: false }),
        Codec::Decimal { mode, .. } | Codec::WideDecimal { mode, .. } => decimal(mode),
        Codec::Geometry => matches!(ty.kind, Kind::Record(_)),
        Codec::Vector => {
            matches!(&ty.kind, Kind::Array(item) if matches!(item.present(), Ok((item, None)) if matches!(item.kind, Kind::Float)))
        }
    }
}
