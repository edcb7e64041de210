"""What is known of the Open X-Embodiment data sets in the published mixture, by the name of their TFDS folder.

Names of images and actions are those of the public RLDS configs of Octo and of the iVideoGPT converter; they were not
checked against the files. Control rates are those of the iVideoGPT paper's frame steps (appendix A.2), which say
nothing of `stanford_mask_vit`, RoboNet and D3Field. That the colours of some are stored as BGR is known from
conversion scripts (huggingface/lerobot#435, kpertsch/rlds_dataset_mod): copies that went through those have been put
right already, for them `colours="rgb"` says so.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """How to read one data set."""

    image: str = "image"
    """The camera taken by default, below `observation`."""
    actions: tuple[str, ...] = ()
    """Which parts of a dictionary of actions are joined, in order; `name:n` takes the first n numbers of one."""
    hz: float | None = None
    """Steps per second; None where unknown."""
    bgr: tuple[str, ...] = ()
    """Cameras whose colours are stored as blue, green, red."""


_POSE = ("world_vector", "rotation_delta")
_ARM = (*_POSE, "gripper_closedness_action")

OPEN_X: dict[str, Facts] = {
    "fractal20220817_data": Facts(actions=_ARM, hz=3),
    "kuka": Facts(actions=_ARM, hz=10),
    "bridge": Facts(actions=(*_POSE, "open_gripper"), hz=5),
    "taco_play": Facts(image="rgb_static", actions=("rel_actions_world",), hz=15),
    "jaco_play": Facts(actions=("world_vector", "gripper_closedness_action"), hz=10),
    "roboturk": Facts(image="front_rgb", actions=_ARM, hz=10),
    "viola": Facts(image="agentview_rgb", actions=_ARM, hz=20),
    "toto": Facts(actions=(*_POSE, "open_gripper"), hz=30),
    "language_table": Facts(image="rgb", hz=10),
    "columbia_cairlab_pusht_real": Facts(actions=_ARM, hz=10),
    "stanford_kuka_multimodal_dataset_converted_externally_to_rlds": Facts(hz=20),
    "stanford_hydra_dataset_converted_externally_to_rlds": Facts(hz=10, bgr=("image", "wrist_image")),
    "austin_buds_dataset_converted_externally_to_rlds": Facts(hz=20),
    "nyu_franka_play_dataset_converted_externally_to_rlds": Facts(hz=3),
    "furniture_bench_dataset_converted_externally_to_rlds": Facts(hz=10),
    "ucsd_kitchen_dataset_converted_externally_to_rlds": Facts(hz=2),
    "ucsd_pick_and_place_dataset_converted_externally_to_rlds": Facts(hz=3),
    "austin_sailor_dataset_converted_externally_to_rlds": Facts(hz=20),
    "bc_z": Facts(
        actions=("future/xyz_residual:3", "future/axis_angle_residual:3", "future/target_close:1"),
        hz=10,
    ),
    "utokyo_pr2_tabletop_manipulation_converted_externally_to_rlds": Facts(hz=10),
    "utokyo_xarm_pick_and_place_converted_externally_to_rlds": Facts(hz=10),
    "utokyo_xarm_bimanual_converted_externally_to_rlds": Facts(hz=10),
    "robo_net": Facts(),
    "kaist_nonprehensile_converted_externally_to_rlds": Facts(hz=10),
    "stanford_mask_vit_converted_externally_to_rlds": Facts(),
    "dlr_sara_pour_converted_externally_to_rlds": Facts(hz=10),
    "dlr_sara_grid_clamp_converted_externally_to_rlds": Facts(hz=10),
    "dlr_edan_shared_control_converted_externally_to_rlds": Facts(hz=5),  # the paper's table comes to 10
    "asu_table_top_converted_externally_to_rlds": Facts(hz=12.5),
    "uiuc_d3field": Facts(image="image_1"),
    "utaustin_mutex": Facts(hz=20, bgr=("image", "wrist_image")),
    "berkeley_fanuc_manipulation": Facts(hz=10, bgr=("image", "wrist_image")),
    "cmu_playing_with_food": Facts(hz=10),
    "cmu_play_fusion": Facts(hz=5),
    "cmu_stretch": Facts(hz=10),
    # Outside the mixture, but in circulation under these names.
    "bridge_dataset": Facts(image="image_0", hz=5),
    "berkeley_autolab_ur5": Facts(actions=_ARM, bgr=("hand_image",)),
    "berkeley_cable_routing": Facts(actions=_POSE, hz=10),
    "nyu_door_opening_surprising_effectiveness": Facts(actions=_ARM),
}
