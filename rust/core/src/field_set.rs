//! Sets of fields, and the field masks of a snapshot.

use crate::fields::{Field, FieldGroup};

/// A set of fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
pub struct FieldSet(u128);

impl FieldSet {
    /// No field.
    pub const EMPTY: FieldSet = FieldSet(0);
    /// Every field.
    pub const ALL: FieldSet = FieldSet((1 << Field::COUNT) - 1);

    /// Counters of the whole process, which the record of each of its threads repeats.
    pub const OF_PROCESS: FieldSet = FieldSet::of(&[
        Field::ac_cutime,
        Field::ac_cstime,
        Field::ac_csttime,
        Field::tg_utime,
        Field::tg_stime,
        Field::tg_sum_exec_ns,
    ]);

    /// The set of the given fields.
    pub const fn of(fields: &[Field]) -> FieldSet {
        let mut set = FieldSet::EMPTY;
        let mut i = 0;
        while i < fields.len() {
            set = set.with(fields[i]);
            i += 1;
        }
        set
    }

    /// All fields of a group.
    pub fn of_group(group: FieldGroup) -> FieldSet {
        Field::ALL.iter().copied().filter(|field| field.info().group == group).collect()
    }

    /// This set and `field`.
    pub const fn with(self, field: Field) -> FieldSet {
        FieldSet(self.0 | 1 << field as u8)
    }

    /// This set less `field`.
    pub const fn without(self, field: Field) -> FieldSet {
        FieldSet(self.0 & !(1 << field as u8))
    }

    /// Fields in either set.
    pub const fn union(self, other: FieldSet) -> FieldSet {
        FieldSet(self.0 | other.0)
    }

    /// Fields in both sets.
    pub const fn intersection(self, other: FieldSet) -> FieldSet {
        FieldSet(self.0 & other.0)
    }

    /// Fields of this set that are not in `other`.
    pub const fn difference(self, other: FieldSet) -> FieldSet {
        FieldSet(self.0 & !other.0)
    }

    /// Whether the field is in the set.
    pub const fn contains(self, field: Field) -> bool {
        self.0 >> field as u8 & 1 == 1
    }

    /// Whether both sets have a field in common.
    pub const fn intersects(self, other: FieldSet) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether any field of the group is in the set.
    pub fn wants(self, group: FieldGroup) -> bool {
        self.intersects(FieldSet::of_group(group))
    }

    /// Whether the set has no field.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The fields in table order.
    pub fn iter(self) -> impl Iterator<Item = Field> {
        Field::ALL.iter().copied().filter(move |field| self.contains(*field))
    }

    /// The set as a bit mask, bit `n` for the table's field `n`.
    pub const fn bits(self) -> u128 {
        self.0
    }

    /// The set of a bit mask; bits of fields this table does not know are dropped.
    pub const fn from_bits(bits: u128) -> FieldSet {
        FieldSet(bits & FieldSet::ALL.0)
    }
}

impl FromIterator<Field> for FieldSet {
    fn from_iter<I: IntoIterator<Item = Field>>(fields: I) -> FieldSet {
        fields.into_iter().fold(FieldSet::EMPTY, FieldSet::with)
    }
}

/// The index of the mask `filled` among the `masks` of a snapshot. A new mask is appended.
///
/// An index is one byte, and sources make a handful of masks. The 256th mask and all later
/// ones share the last index: it then has the fields that all of them hold.
pub fn mask_index(masks: &mut Vec<FieldSet>, filled: FieldSet) -> u8 {
    const LAST: usize = u8::MAX as usize;
    if let Some(known) = masks.iter().take(LAST + 1).position(|&mask| mask == filled) {
        return known as u8;
    }
    if masks.len() > LAST {
        masks[LAST] = masks[LAST].intersection(filled);
        return u8::MAX;
    }
    masks.push(filled);
    (masks.len() - 1) as u8
}

#[cfg(test)]
mod tests {
    use super::{Field, FieldSet, mask_index};

    #[test]
    fn masks_beyond_the_last_index_keep_their_common_fields() {
        let mut masks = Vec::new();
        let mask = |number: u128| FieldSet::from_bits(1 << 20 | number);
        for number in 0..256 {
            assert_eq!(u128::from(mask_index(&mut masks, mask(number))), number);
        }
        assert_eq!(mask_index(&mut masks, mask(7)), 7);
        assert_eq!(mask_index(&mut masks, mask(0x10f)), 255);
        assert_eq!(masks.len(), 256);
        assert_eq!(masks[255], mask(0x0f));
        assert!(masks[255].contains(Field::ALL[20]));
    }
}
