//! Geometries: EWKB, as our columns have them, and Debezium's pair of WKB and reference system.

use lakeward_core::Result;

use super::unreadable;

const SRID_FLAG: u32 = 0x2000_0000;
/// Byte order, kind.
const HEAD: usize = 5;

/// WKB without its reference system, and that; `wkb` is for a value that has to be put together.
pub(super) fn split<'a>(ewkb: &'a [u8], wkb: &'a mut Vec<u8>) -> Result<(&'a [u8], Option<i32>)> {
    let malformed = || unreadable("a geometry that is no EWKB");
    let ([order, a, b, c, d], rest) = ewkb.split_first_chunk::<HEAD>().ok_or_else(malformed)?;
    let number = |bytes: [u8; 4]| match order {
        1 => u32::from_le_bytes(bytes),
        _ => u32::from_be_bytes(bytes),
    };
    let kind = number([*a, *b, *c, *d]);
    if kind & SRID_FLAG == 0 {
        return Ok((ewkb, None));
    }
    let (srid, rest) = rest.split_first_chunk::<4>().ok_or_else(malformed)?;
    let plain = kind & !SRID_FLAG;
    wkb.clear();
    wkb.push(*order);
    wkb.extend_from_slice(&if *order == 1 { plain.to_le_bytes() } else { plain.to_be_bytes() });
    wkb.extend_from_slice(rest);
    Ok((wkb, Some(number(*srid).cast_signed())))
}

/// EWKB of the two. Without a reference system, or with number 0, it is the WKB.
pub(super) fn join<'a>(wkb: &'a [u8], srid: Option<i32>, ewkb: &'a mut Vec<u8>) -> Result<&'a [u8]> {
    let Some(srid) = srid.filter(|srid| *srid != 0) else { return Ok(wkb) };
    let malformed = || unreadable("a geometry that is no WKB");
    let ([order, a, b, c, d], rest) = wkb.split_first_chunk::<HEAD>().ok_or_else(malformed)?;
    let (kind, bytes) = ([*a, *b, *c, *d], srid.cast_unsigned());
    ewkb.clear();
    ewkb.push(*order);
    match order {
        1 => {
            ewkb.extend_from_slice(&(u32::from_le_bytes(kind) | SRID_FLAG).to_le_bytes());
            ewkb.extend_from_slice(&bytes.to_le_bytes());
        }
        _ => {
            ewkb.extend_from_slice(&(u32::from_be_bytes(kind) | SRID_FLAG).to_be_bytes());
            ewkb.extend_from_slice(&bytes.to_be_bytes());
        }
    }
    ewkb.extend_from_slice(rest);
    Ok(ewkb)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_system_is_split_off_and_joined_again() {
        let ewkb = [1, 1, 0, 0, 0x20, 0xE6, 0x10, 0, 0, 7, 8];
        let (mut one, mut other) = (Vec::new(), Vec::new());
        let (wkb, srid) = split(&ewkb, &mut one).unwrap();
        assert_eq!((wkb, srid), (&[1, 1, 0, 0, 0, 7, 8][..], Some(4326)));
        assert_eq!(join(wkb, srid, &mut other).unwrap(), ewkb);
        let plain = [1, 1, 0, 0, 0, 7];
        assert_eq!(split(&plain, &mut Vec::new()).unwrap(), (&plain[..], None));
        assert_eq!(join(&plain, None, &mut Vec::new()).unwrap(), plain);
        assert!(split(&[1, 0], &mut Vec::new()).is_err());
    }
}
