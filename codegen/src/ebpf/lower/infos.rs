//! What the manifest says of how tables are kept.

use super::super::maps::{Kind, Layout};
use super::super::{
    BlockInfo, BucketInfo, ClockInfo, ColumnInfo, FRONTS, FlatInfo, FrontInfo, MaglevInfo, MaskInfo, NearInfo, OwnerInfo,
    TableInfo,
};
use super::Lower;
use super::clock::Clock;
use super::ops::bits_of;
use super::rows::Mask;
use super::tables::{Keeping, Kept, Table, constants};
use grv_lang::ir;

impl Lower<'_> {
    /// How tables are kept, for those who read and write them from outside.
    pub(super) fn table_infos(&self) -> Vec<TableInfo> {
        let kept = |(id, table)| Some(self.table_info(id, table, self.tables.get(id)?.as_ref()?));
        self.program.tables.iter().enumerate().filter_map(kept).collect()
    }

    fn table_info(&self, id: usize, table: &ir::Table, kept: &Table) -> TableInfo {
        let place = |layout: &Layout, index: usize| {
            let place = &layout.places[index];
            ColumnInfo { offset: place.offset, bytes: place.bytes, shift: place.shift, bits: place.bits, network: place.network }
        };
        let all = |layout: &Layout, from: usize| -> Vec<ColumnInfo> {
            (from..layout.places.len()).map(|index| place(layout, index)).collect()
        };
        let mut info = TableInfo::new(id as u32, &table.name, "counters");
        let Some(map) = self.maps.map(kept.map) else {
            if let Keeping::Globals(front) = kept.keeping
                && let Some(of) = self.maps.array(front.section, front.number)
            {
                (info.keeping, info.map) = ("control globals", FRONTS.to_string());
                (info.key_bytes, info.value_bytes) = (4, of.element.size);
                info.value = all(&of.element, 0);
                info.initial = constants(&table.initial);
                let (value, bytes) = (info.value.clone(), of.element.size);
                info.front = Some(FrontInfo { offset: of.offset, key: Vec::new(), value, bytes, bits: front.bits });
            }
            if let Keeping::Cell(cell) = kept.keeping {
                let bits = table.value.first().map_or(1, |column| bits_of(column.ty));
                (info.keeping, info.map) = ("cell", ".data".to_string());
                (info.key_bytes, info.value_bytes) = (4, 8);
                info.value = vec![ColumnInfo { offset: cell.offset, bytes: 8, shift: 0, bits, network: false }];
            }
            return info;
        };
        info.map.clone_from(&map.name);
        (info.key_bytes, info.value_bytes) = (map.key.size, map.value.size);
        let slots = match &kept.keeping {
            Keeping::Entries(entries) => entries.slots.clone(),
            Keeping::Image(image) => self.slots_of(image.owner).map(|(_, slots)| slots),
            _ => None,
        };
        let keys = if slots.is_some() { &map.value } else { &map.key };
        if let Some(slots) = &slots {
            info.index = self.maps.map(slots.index.map).map(|index| index.name.clone());
            info.places.clone_from(&slots.plan.domain);
        }
        info.key = kept.key.iter().map(|index| place(keys, *index)).collect();
        let named = |id| self.maps.map(id).map_or_else(String::new, |map| map.name.clone());
        info.front = self.fronts.get(&kept.map).and_then(|front| {
            let of = self.maps.array(front.section, front.number)?;
            // Whether it is there comes first.
            let mut key = all(&of.element, 1);
            let value = key.split_off(table.key.len());
            Some(FrontInfo { offset: of.offset, key, value, bytes: of.element.size, bits: front.bits })
        });
        match &kept.keeping {
            Keeping::Entries(entries) => {
                info.keeping = if slots.is_some() { "slots" } else { "entries" };
                info.word = Some(entries.word);
                info.ticket = entries.ticket;
                (info.deadline_shift, info.clock) = (entries.low, clock_info(entries.clock));
                let column = |kept: &Kept| match kept {
                    Kept::Word(shift, bits) => {
                        ColumnInfo { offset: entries.word, bytes: 8, shift: *shift, bits: *bits, network: false }
                    }
                    Kept::Beside(index) => place(&map.value, *index),
                };
                info.value = entries.columns.iter().map(column).collect();
            }
            Keeping::Mirror(mirror) => {
                info.keeping = "mirror";
                info.word = Some(mirror.word);
                info.value = mirror.columns.iter().map(|index| place(&map.value, *index)).collect();
                info.owner = Some(OwnerInfo { table: mirror.owner.0, key: mirror.key.clone() });
                if let Some(Keeping::Entries(owner)) = self.map_of(mirror.owner).map(|of| of.keeping) {
                    info.clock = clock_info(owner.clock);
                }
            }
            Keeping::Image(image) => {
                info.keeping = "slots";
                info.owner = Some(OwnerInfo { table: image.owner.0, key: image.key.clone() });
                if let (Some(Keeping::Entries(owner)), Some(slots)) = (self.map_of(image.owner).map(|of| of.keeping), slots) {
                    info.word = Some(owner.word);
                    (info.deadline_shift, info.clock) = (owner.low, clock_info(owner.clock));
                    info.value = slots.image.iter().skip(table.key.len()).map(|index| place(&map.value, *index)).collect();
                }
            }
            // No table of the program is kept in the one, the others were said above.
            Keeping::Index | Keeping::Cell(_) | Keeping::Globals(_) => {}
            Keeping::Bucket(bucket) => {
                info.keeping = "buckets";
                info.clock = clock_info(bucket.clock);
                info.bucket = Some(BucketInfo { cost: bucket.cost, unit: bucket.unit, burst: bucket.burst });
                info.value = all(&map.value, table.key.len());
            }
            Keeping::Control => {
                info.keeping = if map.kind == Kind::Array { "control array" } else { "control" };
                info.initial = constants(&table.initial);
                info.value = all(&map.value, 0);
            }
            Keeping::Blocks(blocks) => {
                info.keeping = "control blocks";
                info.initial.clone_from(&blocks.initial);
                info.value = all(&blocks.element, 0);
                info.blocks = Some(BlockInfo { elements: blocks.elements, bytes: blocks.element.size });
                info.maglev = table.computed.as_ref().map(|of| MaglevInfo {
                    entries: of.entries.0,
                    groups: of.groups.map(|map| map.0),
                    slots: of.slots,
                });
            }
            Keeping::Rows(rows) => {
                info.keeping = "control rows";
                info.initial = constants(&table.initial);
                info.value = all(&rows.element, 0);
                info.value.truncate(table.value.len());
                info.blocks = Some(BlockInfo { elements: rows.length, bytes: rows.element.size });
                let mask = |mask: &Mask| {
                    let column = ColumnInfo { bits: mask.width, ..place(&rows.element, mask.place) };
                    MaskInfo { of: mask.column, mask: column }
                };
                info.masks = rows.masks.iter().map(mask).collect();
            }
            Keeping::Prefixes(flat) => {
                info.keeping = "prefixes";
                info.flat = flat.as_ref().map(|flat| FlatInfo {
                    offset: flat.first.1,
                    map: named(flat.blocks),
                    blocks: flat.count,
                    value: flat.value.clone(),
                    bytes: flat.bytes,
                });
                info.value = all(&map.value, 1);
            }
            Keeping::Feed(near) => {
                info.keeping = "feed";
                info.near = near.as_ref().map(|near| NearInfo { map: named(near.map), widths: near.widths.clone() });
                info.value = all(&map.value, table.key.len());
            }
            Keeping::Counters => info.value = all(&map.value, 0),
        }
        info
    }
}

fn clock_info(clock: Clock) -> ClockInfo {
    ClockInfo { coarse: matches!(clock, Clock::Coarse(_)), tick: clock.tick() }
}
