//! GEOMETRY: the server's form (SRID, then WKB) to EWKB, the form that carries the SRID inside.
//!
//! EWKB sets a flag in the outermost geometry type and puts the SRID behind it; the parts of a
//! collection carry neither. Without an SRID (0) EWKB is plain WKB.

use lakeward_core::Result;

use super::cursor::{Cursor, unreadable};

const SRID_FLAG: u32 = 0x2000_0000;

/// Appends the EWKB of a value as the server stores it.
pub(super) fn append_ewkb(value: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let mut value = Cursor::new(value);
    let srid = value.u32()?;
    if srid == 0 {
        out.extend_from_slice(value.rest());
        return Ok(());
    }
    // Servers store geometries little-endian only (gis.cc); another order would need another flag.
    if value.u8()? != 1 {
        return Err(unreadable("a geometry that is not stored little-endian"));
    }
    let kind = value.u32()?;
    out.push(1);
    out.extend_from_slice(&(kind | SRID_FLAG).to_le_bytes());
    out.extend_from_slice(&srid.to_le_bytes());
    out.extend_from_slice(value.rest());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_srid_moves_inside_and_zero_leaves_plain_wkb() {
        let mut point = vec![0xE6, 0x10, 0, 0, 1, 1, 0, 0, 0];
        point.extend_from_slice(&[0; 16]);
        let mut out = Vec::new();
        append_ewkb(&point, &mut out).unwrap();
        assert_eq!(out[..9], [1, 1, 0, 0, 0x20, 0xE6, 0x10, 0, 0]);
        assert_eq!(out.len(), 25);
        point[..2].fill(0);
        out.clear();
        append_ewkb(&point, &mut out).unwrap();
        assert_eq!(out, point[4..]);
        assert!(append_ewkb(&[1, 0, 0, 0, 0, 0], &mut Vec::new()).is_err());
    }
}
