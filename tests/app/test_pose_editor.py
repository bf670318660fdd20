"""The pose editor in the window: drags, clicks and keys do to the joints what they say, and undo takes it all back."""

import json
import random

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent, QGuiApplication, QMouseEvent
from PySide6.QtTest import QTest

from app.protocol.payloads import JOINT_NAMES, Image, Person, Pose
from app.widgets import pose_model as model
from app.widgets.pose_editor import PoseEditor
from app.widgets.pose_painter import box_handles
from app.widgets.pose_presets import PRESETS
from app.widgets.stage_view import from_qimage

LEFT, RIGHT, MIDDLE = Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton, Qt.MouseButton.MiddleButton
NONE, SHIFT = Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ShiftModifier
CONTROL = Qt.KeyboardModifier.ControlModifier
WRIST = JOINT_NAMES.index("right wrist")


@pytest.fixture
def editor(qtbot):
    made = PoseEditor(width=128, height=128)
    qtbot.addWidget(made)
    made.resize(760, 560)
    made.show()
    made.stage.setFocus()
    return made


def joint(editor, person, j) -> QPointF:
    return editor.stage.to_widget(QPointF(*editor.document.people[person, j, :2]))


def send_move(stage, where, modifiers=NONE, button=LEFT):
    event = QMouseEvent(QEvent.Type.MouseMove, where, stage.mapToGlobal(where), Qt.MouseButton.NoButton, button, modifiers)
    QGuiApplication.sendEvent(stage, event)


def drag(editor, start, by, modifiers=NONE, button=LEFT):
    """Drag from `start` by `by`, both in widget pixels, in three moves."""
    stage, start = editor.stage, QPointF(start.toPoint())
    QTest.mousePress(stage, button, modifiers, start.toPoint())
    for part in (0.3, 0.7, 1.0):
        send_move(stage, start + QPointF(*by) * part, modifiers, button)
    QTest.mouseRelease(stage, button, modifiers, (start + QPointF(*by)).toPoint())


def key(editor, *args):
    QTest.keyClick(editor.stage, *args)


def colour_at(editor, position: QPointF) -> tuple[int, ...]:
    """What the screen shows at a place in widget pixels, on screens of any scale."""
    shot = from_qimage(editor.stage.grab().toImage())
    ratio = shot.shape[1] / editor.stage.width()
    return tuple(shot[int(position.y() * ratio), int(position.x() * ratio)].tolist())


def people(editor) -> np.ndarray:
    return editor.document.people.copy()


# ---- joints


def test_dragging_a_joint_moves_it_alone_by_the_way_of_the_pointer(editor):
    editor.add_person("standing")
    before = people(editor)
    drag(editor, joint(editor, 0, WRIST), (40, -60))
    after = people(editor)
    assert after[0, WRIST, :2] - before[0, WRIST, :2] == pytest.approx((40 / editor.zoom(), -60 / editor.zoom()))
    assert np.array_equal(np.delete(after, WRIST, 1), np.delete(before, WRIST, 1))
    assert (editor.selected_person(), editor.selected_joint()) == (0, WRIST)
    editor.undo()
    assert np.array_equal(people(editor), before)


def test_a_drag_goes_where_the_pointer_is_at_any_zoom(editor):
    editor.add_person("waving")
    editor.set_zoom(9)
    spot = joint(editor, 0, 8)
    before = people(editor)[0, 8, :2]
    drag(editor, spot, (18, 27))
    assert people(editor)[0, 8, :2] - before == pytest.approx((2, 3))


def test_right_click_hides_and_shows_a_joint(editor):
    editor.add_person()
    place = people(editor)[0, WRIST, :2]
    QTest.mouseClick(editor.stage, RIGHT, NONE, joint(editor, 0, WRIST).toPoint())
    assert editor.pose().people[0].points[WRIST] == (*place, 0.0)
    QTest.mouseClick(editor.stage, RIGHT, NONE, joint(editor, 0, WRIST).toPoint())
    assert editor.pose().people[0].points[WRIST] == (*place, 1.0)


def test_delete_drops_the_joint_and_restore_brings_it_back(editor):
    editor.add_person()
    before = people(editor)
    editor.select_joint(WRIST)
    key(editor, Qt.Key.Key_Delete)
    assert editor.pose().people[0].points[WRIST] == (0, 0, 0) and editor.selected_joint() is None
    editor.restore_joints()
    assert people(editor) == pytest.approx(before), "a standing person is rebuilt where it stood"
    key(editor, Qt.Key.Key_Delete)
    assert editor.people_count() == 0, "without a joint, the person goes"


def test_arrow_keys_nudge_the_joint_or_the_person(editor):
    editor.add_person()
    before = people(editor)
    key(editor, Qt.Key.Key_Right)
    key(editor, Qt.Key.Key_Up, SHIFT)
    assert people(editor)[..., :2] - before[..., :2] == pytest.approx(np.broadcast_to((1.0, -10.0), (1, 18, 2)))
    editor.select_joint(4)
    key(editor, Qt.Key.Key_Left)
    moved = people(editor)[0, :, 0] - before[0, :, 0]
    assert moved[4] == pytest.approx(0) and moved[5] == pytest.approx(1)


def test_keyboard_reaches_every_joint_and_person(editor):
    editor.add_person()
    editor.add_person()
    editor.select_person(None)
    key(editor, "P")
    assert editor.selected_person() == 0
    key(editor, "P")
    key(editor, "P")
    assert editor.selected_person() == 0
    seen = []
    for _ in range(18):
        key(editor, "J")
        seen.append(editor.selected_joint())
    assert seen == list(range(18))
    key(editor, "X")
    assert editor.pose().people[0].points[17][2] == 0
    key(editor, Qt.Key.Key_Escape)
    assert editor.selected_joint() is None and editor.selected_person() == 0
    key(editor, Qt.Key.Key_Escape)
    assert editor.selected_person() is None


def test_hovering_names_the_joint(editor, qtbot):
    editor.add_person()
    send_move(editor.stage, joint(editor, 0, WRIST), button=Qt.MouseButton.NoButton)
    assert editor.status_label.text().startswith("Right wrist of person 1")


# ---- whole bodies


def test_dragging_inside_the_box_moves_the_body_only(editor):
    editor.add_person()
    editor.add_person()
    before = people(editor)
    middle = (joint(editor, 1, 8) + joint(editor, 1, 1)) / 2 + QPointF(9, 0)
    assert editor.stage.grip_at(middle).kind == "move"
    drag(editor, middle, (-40, 20))
    after = people(editor)
    assert np.array_equal(after[0], before[0])
    assert after[1, :, :2] - before[1, :, :2] == pytest.approx(np.broadcast_to(np.array([-40, 20]) / editor.zoom(), (18, 2)))


def test_corner_handle_scales_about_the_opposite_corner(editor):
    editor.add_person("arms wide")
    before = people(editor)[0]
    box, handles = model.bounds(before), box_handles(editor.stage.body_box())
    wide, high = (box[2] - box[0]) * editor.zoom(), (box[3] - box[1]) * editor.zoom()
    drag(editor, handles["se"], (-wide * 0.25, -high * 0.25))
    after = model.bounds(people(editor)[0])
    assert after[:2] == pytest.approx(box[:2])
    assert (after[2] - after[0]) / (box[2] - box[0]) == pytest.approx(0.75, abs=0.01)
    assert (after[3] - after[1]) / (box[3] - box[1]) == pytest.approx(0.75, abs=0.01)


def test_side_handle_scales_one_axis(editor):
    editor.add_person("arms wide")
    before = people(editor)[0]
    drag(editor, box_handles(editor.stage.body_box())["e"], (-30, 55))
    after = people(editor)[0]
    assert after[:, 1] == pytest.approx(before[:, 1]) and np.ptp(after[:, 0]) < np.ptp(before[:, 0])


def test_rotate_handle_turns_the_body_in_steps_with_shift(editor):
    editor.add_person("standing")
    before = people(editor)[0]
    handle = box_handles(editor.stage.body_box())["rotate"]
    box = model.bounds(before)
    middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    centre = editor.stage.to_widget(QPointF(*middle))
    reach = centre.y() - handle.y()
    drag(editor, handle, (reach + 4, reach + 3), SHIFT)
    assert people(editor)[0] == pytest.approx(model.rotated(before, middle, np.pi / 2))


def test_mirror_copy_remove(editor):
    editor.add_person("waving")
    before = people(editor)
    key(editor, "M")
    assert people(editor)[0, JOINT_NAMES.index("left wrist"), 1] == before[0, WRIST, 1]
    key(editor, "D", CONTROL)
    assert editor.people_count() == 2 and editor.selected_person() == 1
    assert np.ptp(people(editor)[1, :, 0]) == pytest.approx(np.ptp(people(editor)[0, :, 0]))
    key(editor, Qt.Key.Key_Delete, SHIFT)
    assert editor.people_count() == 1
    for _ in range(3):
        key(editor, "Z", CONTROL)
    assert np.array_equal(people(editor), before)


def test_clicking_selects_among_several_people(editor):
    editor.add_person()
    editor.add_person()
    QTest.mouseClick(editor.stage, LEFT, NONE, joint(editor, 0, 10).toPoint())
    assert (editor.selected_person(), editor.selected_joint()) == (0, 10)
    assert editor.side.people.currentRow() == 0
    QTest.mouseClick(editor.stage, LEFT, NONE, QPoint(3, 3))
    assert editor.selected_person() is None
    editor.side.people.setCurrentRow(1)
    assert editor.selected_person() == 1


def test_gallery_adds_and_changes_people(editor):
    gallery = editor.side.gallery
    names = [gallery.item(i).data(Qt.ItemDataRole.UserRole) for i in range(gallery.count())]
    assert names == list(PRESETS)
    gallery.setCurrentRow(names.index("sitting"))
    QTest.keyClick(gallery, Qt.Key.Key_Return)
    assert editor.people_count() == 1
    neck = people(editor)[0, 1]
    editor.side.pose_taken.emit("arms up")
    assert editor.people_count() == 1 and people(editor)[0, 1] == pytest.approx(neck)
    assert people(editor)[0, WRIST, 1] < people(editor)[0, 0, 1]


# ---- undo, signals, sizes


def test_every_gesture_is_one_undo_step(editor):
    editor.add_person()
    for j in (4, 7, 10):
        drag(editor, joint(editor, 0, j), (20, 10))
    assert len(editor.document.history.undo_stack) == 4
    QTest.mouseClick(editor.stage, LEFT, NONE, joint(editor, 0, 4).toPoint())
    assert len(editor.document.history.undo_stack) == 4, "a click changes nothing"


def test_escape_calls_a_drag_off(editor):
    editor.add_person()
    before = people(editor)
    start = joint(editor, 0, WRIST)
    QTest.mousePress(editor.stage, LEFT, NONE, start.toPoint())
    send_move(editor.stage, start + QPointF(50, 50))
    assert not np.array_equal(people(editor), before)
    key(editor, Qt.Key.Key_Escape)
    send_move(editor.stage, start + QPointF(90, 50))
    QTest.mouseRelease(editor.stage, LEFT, NONE, start.toPoint())
    assert np.array_equal(people(editor), before) and len(editor.document.history.undo_stack) == 1


def test_changed_is_coalesced_while_dragging_and_comes_in_the_end(editor, qtbot):
    editor.add_person()
    seen = []
    editor.changed.connect(lambda: seen.append(editor.pose()))
    drag(editor, joint(editor, 0, WRIST), (40, -60))
    assert len(seen) <= 1, "three moves within one frame"
    qtbot.waitUntil(lambda: bool(seen) and seen[-1] == editor.pose())


def test_size_change_scales_people_and_undo_brings_both_back(editor, qtbot):
    editor.add_person()
    before = editor.pose()
    editor.set_size(256, 512)
    after = model.to_array(editor.pose())
    assert after[0, :, 0] == pytest.approx(model.to_array(before)[0, :, 0] * 2)
    assert after[0, :, 1] == pytest.approx(model.to_array(before)[0, :, 1] * 2 + 128)
    with qtbot.waitSignal(editor.size_changed) as caught:
        editor.undo()
    assert caught.args == [128, 128] and editor.pose() == before


def test_joints_outside_are_kept_and_come_into_view(editor):
    points = tuple((400.0 + i, -300.0 + i, 1.0) for i in range(18))
    editor.set_pose(Pose((Person(points),), 128, 128))
    assert editor.pose().people[0].points == points
    editor.fit()
    assert editor.stage.rect().contains(joint(editor, 0, 17).toPoint())
    assert editor.stage.grip_at(joint(editor, 0, 17)).joint == 17


def test_state_survives_a_round_trip(editor, qtbot):
    editor.add_person("running")
    editor.select_joint(3)
    editor.drop_joint()
    editor.set_underlay_opacity(0.25)
    state = json.loads(json.dumps(editor.save_state()))
    other = PoseEditor()
    qtbot.addWidget(other)
    assert other.restore_state(state) == []
    assert other.pose() == editor.pose() and other.underlay_opacity() == 0.25 and not other.can_undo()


@pytest.mark.parametrize("bad", [7, [[1, 2]], [[[0, 0, float("nan")]] * 18], None, [[["a", 0, 0]] * 18]])
def test_damaged_state_is_told_and_loses_nothing(editor, bad):
    editor.add_person()
    before = editor.pose()
    assert len(editor.restore_state({"people": bad, "width": 64, "height": 64})) == 1
    assert len(editor.restore_state({"people": []})) == 1
    assert editor.pose() == before


def test_dropped_files_are_sorted_by_kind(editor):
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile("/a/p.JSON"), QUrl.fromLocalFile("/a/q.png")])
    drop = QDropEvent(QPointF(5, 5), Qt.DropAction.CopyAction, data, LEFT, NONE)
    seen = []
    editor.json_dropped.connect(seen.append)
    editor.picture_dropped.connect(seen.append)
    editor.dropEvent(drop)
    assert seen == [["/a/p.JSON"], ["/a/q.png"]]


# ---- looks


def test_control_picture_is_shown_until_the_pose_changes(editor):
    editor.add_person()
    editor.select_person(None)
    green = Image(np.broadcast_to(np.array([0, 200, 0], np.uint8), (128, 128, 3)))
    corner = editor.stage.to_widget(QPointF(2, 2))

    editor.set_control_image(green, Pose((), 128, 128))
    assert colour_at(editor, corner) == (0, 0, 0), "a picture of another pose is not shown"
    editor.set_control_image(green, editor.pose())
    assert colour_at(editor, corner) == (0, 200, 0)
    editor.select_person(0)
    key(editor, Qt.Key.Key_Right)
    assert colour_at(editor, corner) == (0, 0, 0)


def test_own_bones_look_like_the_reference_renderer(editor):
    from models.diffusion.openpose import draw_pose

    editor.set_size(512, 512)
    editor.add_person("waving")
    editor.select_person(None)
    editor.set_zoom(1 / editor.devicePixelRatioF())
    reference = draw_pose(people(editor), 512, 512)
    editor.stage.paint_overlay = lambda painter: None
    shot = from_qimage(editor.stage.grab().toImage())
    corner = (editor.stage.to_widget(QPointF()) * editor.devicePixelRatioF()).toPoint()
    part = shot[max(0, corner.y()) :, max(0, corner.x()) :][:400, :400].astype(int)
    part_of_reference = reference[max(0, -corner.y()) :, max(0, -corner.x()) :][:400, :400].astype(int)
    inside = (part_of_reference.sum(-1) > 0) & (part.sum(-1) > 0)
    union = (part_of_reference.sum(-1) > 60) | (part.sum(-1) > 60)
    assert inside.sum() > 0.75 * union.sum()
    assert np.median(np.abs(part - part_of_reference)[inside]) <= 2


def test_hidden_joint_takes_its_limbs_from_the_drawing(editor):
    editor.add_person("arms wide")
    middle = (joint(editor, 0, 3) + joint(editor, 0, 4)) / 2
    editor.select_person(None)
    lit = max(colour_at(editor, middle))
    QTest.mouseClick(editor.stage, RIGHT, NONE, joint(editor, 0, 4).toPoint())
    editor.select_person(None)
    assert lit > 100 > 20 > max(colour_at(editor, middle))


def test_monkey_leaves_the_editor_alive_and_undo_goes_all_the_way_back(editor):
    rng = random.Random(11)
    editor.add_person("walking")
    editor.clear_history()
    start = hash(editor.pose())
    stage = editor.stage

    def place():
        if editor.people_count() and rng.random() < 0.7:
            return joint(editor, rng.randrange(editor.people_count()), rng.randrange(18))
        return QPointF(rng.uniform(0, stage.width()), rng.uniform(0, stage.height()))

    def pull():
        by = (rng.uniform(-200, 200), rng.uniform(-200, 200))
        drag(editor, place(), by, rng.choice([NONE, SHIFT]), rng.choice([LEFT, LEFT, RIGHT, MIDDLE]))

    def pull_box():
        if stage.body_box() is not None:
            drag(editor, rng.choice(list(box_handles(stage.body_box()).values())), (rng.uniform(-300, 300), rng.uniform(-300, 300)))

    def broken_pull():
        spot = place()
        QTest.mousePress(stage, LEFT, NONE, spot.toPoint())
        send_move(stage, spot + QPointF(30, -20))
        rng.choice([editor.undo, editor.clear, editor.mirror_person, lambda: editor.set_size(96, 128), press])()
        send_move(stage, spot + QPointF(60, -20))
        QTest.mouseRelease(stage, LEFT, NONE, spot.toPoint())

    def press():
        keys = [*"NMXJPRSHV", Qt.Key.Key_Delete, Qt.Key.Key_Escape, Qt.Key.Key_Left, Qt.Key.Key_Up]
        key(editor, rng.choice(keys), rng.choice([NONE, SHIFT]))

    actions = [
        pull, pull, pull, pull_box, broken_pull, press, press, press, editor.undo, editor.redo, editor.duplicate_person,
        editor.restore_joints, editor.drop_joint, editor.fit, lambda: editor.set_zoom(rng.uniform(0.05, 20)),
        lambda: editor.add_person(rng.choice(list(PRESETS))), lambda: editor.side.pose_taken.emit(rng.choice(list(PRESETS))),
        lambda: editor.set_size(rng.choice([64, 128, 256]), 128),
    ]  # fmt: skip
    for step in range(200):
        rng.choice(actions)()
        if step % 20 == 0:
            editor.grab()
    for _ in range(1000):
        editor.undo()
    assert hash(editor.pose()) == start and not editor.can_undo()
