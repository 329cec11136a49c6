//! Layouts of small batches, worked out by hand.

use super::*;
use crate::plan::*;

fn space(axes: &[usize], major: Option<usize>) -> Space {
    Space { axes: axes.to_vec(), major }
}

fn buffer(name: &str, space: SpaceId, width: usize, role: Role, life: (usize, usize)) -> Buffer {
    Buffer {
        name: name.into(),
        element: match role {
            Role::RowKey => Element::Id,
            _ => Element::Real,
        },
        width,
        shape: vec![width],
        space,
        residency: Residency::All,
        role,
        life,
    }
}

/// Spaces: 0 [], 1 [batch], 2 [batch, t], 3 [batch, t, s] by t.
fn plan() -> Plan {
    let back = |by| RowMap { from: 2, to: 2, at: vec![(1, Position::Back(by))] };
    Plan {
        name: "test".into(),
        axes: vec!["batch".into(), "t".into(), "s".into()],
        spaces: vec![
            space(&[], None),
            space(&[0], None),
            space(&[0, 1], Some(1)),
            space(&[0, 1, 2], Some(1)),
        ],
        maps: vec![
            back(1),
            RowMap { from: 2, to: 2, at: vec![(1, Position::Forward(1))] },
            RowMap { from: 1, to: 2, at: vec![(1, Position::Last)] },
            RowMap { from: 2, to: 1, at: vec![] },
            RowMap { from: 3, to: 2, at: vec![] },
            RowMap { from: 1, to: 2, at: vec![(1, Position::First)] },
        ],
        lists: vec![RowList { from: 3, to: 2 }, RowList { from: 2, to: 1 }, RowList { from: 2, to: 0 }],
        buffers: vec![
            buffer("x", 2, 2, Role::Input("x".into()), (0, 0)),
            buffer("a", 2, 5, Role::Temporary, (0, 1)),
            buffer("b", 2, 5, Role::Temporary, (2, 3)),
            buffer("key", 3, 2, Role::RowKey, (0, 3)),
            buffer("count", 0, 1, Role::Count(vec![0, 1]), (0, 3)),
            buffer("w", 0, 7, Role::Parameter("w".into()), (0, 3)),
        ],
        ..Plan::default()
    }
}

fn lengths() -> Lengths {
    Lengths { examples: 4, axes: vec![vec![], vec![2, 4, 1, 0], vec![1, 2, 3, 5]], ..Lengths::default() }
}

#[test]
fn rows_are_packed_in_step_order() {
    let layout = Layout::new(&plan(), Precision::F32, &lengths(), 0..4).unwrap();
    assert_eq!(layout.spaces[2].rows, 7);
    assert_eq!(layout.spaces[2].step_offsets, [0, 3, 5, 6, 7]);
    assert_eq!(layout.maps[0], [-1, -1, -1, 0, 1, 3, 5]);
    assert_eq!(layout.maps[1], [3, 4, -1, 5, -1, 6, -1]);
    assert_eq!(layout.maps[2], [4, 6, 2, -1]);
    assert_eq!(layout.maps[3], [1, 0, 2, 1, 0, 1, 1]);
    assert_eq!(layout.maps[5], [1, 0, 2, -1]);
    // Step 0 of [batch, t, s]: example 1 has 2 positions, example 0 one, example 2 three.
    assert_eq!(layout.spaces[3].step_offsets, [0, 6, 9, 11, 13]);
    assert_eq!(layout.maps[4], [0, 0, 1, 2, 2, 2, 3, 3, 4, 5, 5, 6, 6]);
    assert_eq!(layout.lists[0].starts, [0, 2, 3, 6, 8, 9, 11, 13]);
    assert_eq!(layout.lists[1].starts, [0, 2, 6, 7, 7]);
    assert_eq!(layout.lists[1].rows, [1, 4, 0, 3, 5, 6, 2]);
    assert_eq!(layout.lists[2].rows, [1, 4, 0, 3, 5, 6, 2]);
}

#[test]
fn what_the_plan_has_no_axis_for_does_not_matter() {
    let mut more = lengths();
    more.axes.push(vec![3]);
    more.trees.insert(1, Vec::new());
    more.trees.insert(7, Vec::new());
    assert_eq!(
        Layout::new(&plan(), Precision::F32, &more, 1..3),
        Layout::new(&plan(), Precision::F32, &lengths(), 1..3)
    );
}

#[test]
fn a_part_has_the_keys_and_counts_of_the_whole() {
    let (plan, lengths) = (plan(), lengths());
    let whole = Layout::new(&plan, Precision::F32, &lengths, 0..4).unwrap();
    let part = Layout::new(&plan, Precision::F32, &lengths, 1..3).unwrap();
    let keys = |layout: &Layout| match layout.content(&plan, 3) {
        Ok(Some(Content::Id(keys))) => keys.chunks(2).map(|key| (key[0], key[1])).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let (whole_keys, part_keys) = (keys(&whole), keys(&part));
    assert_eq!(part_keys.len(), 4 * 2 + 3);
    assert!(part_keys.iter().all(|key| whole_keys.contains(key)));
    let distinct: std::collections::HashSet<_> = whole_keys.iter().collect();
    assert_eq!(distinct.len(), whole_keys.len());
    assert_eq!(part.content(&plan, 4).unwrap(), Some(Content::Real(vec![7.0])));
}

#[test]
fn packing_and_unpacking_are_inverse() {
    let layout = Layout::new(&plan(), Precision::F32, &lengths(), 0..4).unwrap();
    let padded: Vec<u32> = (0..4 * 4 * 2).collect();
    let mut packed = vec![0; 14];
    layout.pack(2, 2, &padded, &mut packed).unwrap();
    assert_eq!(packed, [8, 9, 0, 1, 16, 17, 10, 11, 2, 3, 12, 13, 14, 15]);
    let mut back = vec![99; padded.len()];
    layout.unpack(2, 2, &packed, &mut back).unwrap();
    assert_eq!(back[..4], [0, 1, 2, 3]);
    assert_eq!(back[4..8], [99; 4]);
    assert!(layout.pack(2, 2, &padded[1..], &mut packed).is_err());
}

#[test]
fn disjoint_lives_share_a_place_and_inputs_do_not() {
    let layout = Layout::new(&plan(), Precision::F32, &lengths(), 0..4).unwrap();
    let place = |id: usize| layout.arena.places[id].unwrap();
    assert_eq!(place(1).start, place(2).start);
    assert_eq!(place(1).offset % 64, 0);
    assert!(layout.arena.places[5].is_none());
    for (a, b) in [(0, 1), (0, 2), (0, 3), (1, 3)] {
        let (a, b) = (place(a), place(b));
        assert!(a.start + a.bytes <= b.start || b.start + b.bytes <= a.start);
    }
    assert!(layout.arena.table(&plan()).contains("bytes in all"));
}

#[test]
fn impossible_sizes_are_errors() {
    let plan = plan();
    let huge = Lengths::uniform(2, &[usize::MAX / 2, 3]);
    assert!(matches!(Layout::new(&plan, Precision::F32, &huge, 0..2), Err(LayoutError::TooLarge { .. })));
    assert!(matches!(Layout::new(&plan, Precision::F32, &lengths(), 3..5), Err(LayoutError::Part { .. })));
    let empty = Lengths { examples: 0, axes: vec![vec![]; 3], ..Lengths::default() };
    let layout = Layout::new(&plan, Precision::F64, &empty, 0..0).unwrap();
    assert_eq!(layout.spaces[2].rows, 0);
}

#[test]
fn buffers_stay_where_there_is_room() {
    let (plan, all) = (plan(), |_: &Role| false);
    let laid_out = |lengths: &Lengths, before: Option<&Arena>| {
        let part = 0..lengths.examples;
        Layout::lending(&plan, Precision::F32, lengths, part, 0, &all, before).unwrap()
    };
    let (small, large) = (Lengths::uniform(2, &[2, 1]), lengths());
    let [first, second] = [&large, &small].map(|lengths| laid_out(lengths, None));
    let kept = laid_out(&small, Some(&first.arena));
    assert_eq!(kept.arena, first.arena);
    assert_eq!((&kept.spaces, &kept.maps), (&second.spaces, &second.maps));
    // Two examples of two steps by two reals, and the row in front.
    assert_eq!(kept.in_use(&plan, 0).unwrap().len(), 64 + 4 * 2 * 4);
    assert_eq!(kept.in_use(&plan, 5), None);
    assert_eq!(laid_out(&large, Some(&second.arena)), first);
}
