"""Every numbered statement of the book has its check: in the table below, or a test whose docstring names it."""

import ast
import functools
import re
from pathlib import Path

import pytest

from tools import notebooks

HERE = Path(__file__).parent
LABEL = re.compile(r"\b(?:thm|prop|lem|cor)-[a-z0-9]+(?:-[a-z0-9]+)*")
STATEMENT = re.compile(r":{3,}\s*\{prf:(theorem|proposition|lemma|corollary)\}")
CHECKS = {  # statement: the test that fails where it is wrong
    "thm-primal-dual": "test_theorems.py::test_primal_dual_and_limit_agree",
    "thm-necessity": "test_theorems.py::test_fewer_points_than_rank_cannot_be_exact",
    "cor-shortfall": "test_theorems.py::test_fewer_points_than_rank_cannot_be_exact",
    "thm-decisions": "test_theorems.py::test_k_minus_one_points_keep_every_decision",
    "thm-characterisation": "test_theorems.py::test_characterisation_gives_every_exact_set",
    "lem-projection": "test_theorems.py::test_projection_keeps_exactness",
    "thm-given-labels": "test_theorems.py::test_given_labels_every_branch_is_exact",
    "thm-nearest": "test_theorems.py::test_nearest_set_attains_the_bound_and_nothing_beats_it",
    "thm-nearest-labels": "test_theorems.py::test_nearest_for_given_labels_fits_them_and_asks_for_its_hypotheses",
    "prop-box": "test_box.py::test_sets_in_the_box_are_exact_for_every_lam_and_nearer_than_shortened_rows",
    "cor-nearest-pseudoinverse": "test_theorems.py::test_the_published_choice_is_nearest_in_pseudo_inverses",
    "thm-labels-only": "test_theorems.py::test_labels_only_projects_the_model_onto_the_span",
    "prop-gauge": "test_gauge.py::test_at_lam_zero_exactly_the_matrices_of_the_criterion_are_allowed",
    "thm-frontier": "test_theorems.py::test_the_frontier_is_the_best_model_of_its_rank",
    "thm-intercept": "test_theorems.py::test_sets_for_a_model_with_an_intercept",
    "thm-every-lambda": "test_theorems.py::test_the_krylov_space_counts_the_points_for_every_lambda",
    "thm-surjective": "test_recipe.py::test_inputs_are_exact_for_every_map_and_everything_that_may_be_given",
    "prop-linear-preimage": "test_maps.py::test_linear_takes_the_nearest_preimage_of_least_squares",
    "prop-steps": "test_maps.py::test_step_by_step_nearest_is_globally_nearest_when_only_the_first_step_has_freedom",
    "prop-convolution": "test_conv.py::test_linear_is_onto_exactly_when_its_columns_are_independent",
    "thm-cube": "test_fourier.py::test_every_point_of_the_cube_is_reached",
    "prop-fourier-kernel": "test_fourier.py::test_inner_products_approximate_the_gaussian_kernel",
    "thm-linear-no-bias": "test_theorems.py::test_without_biases_inputs_do_whatever_features_do",
    "thm-linear-bias": "test_theorems.py::test_the_count_with_biases_is_that_of_the_constant_row",
    "thm-linear-labels": "test_theorems.py::test_given_labels_can_be_had_in_three_cases_and_no_other",
    "prop-linear-nearest": "test_deep_linear.py::test_nearest_inputs_are_exact_for_every_lam",
    "prop-block-rank": "test_deep_linear.py::test_the_two_hypotheses_of_the_published_theorem_exclude_each_other",
    "thm-point-count": "test_nonsurjective.py::test_one_point_above_the_count_is_exact_and_one_below_is_not",
    "thm-paper-52": "test_nonsurjective.py::"
    "test_theorem_5_2_k_points_with_given_labels_exist_if_and_only_if_the_condition_holds",
    "prop-trainable-layer": "test_nonsurjective.py::"
    "test_theorem_d_1_one_more_trainable_layer_only_rescales_the_labels",
    "thm-twice": "test_nonsurjective.py::test_twice_is_always_enough_and_half_of_the_points_are_given",
    "thm-smooth-rank": "test_nonsurjective.py::"
    "test_almost_every_smooth_layer_has_the_rank_at_its_count_and_not_below",
    "prop-gaussian-independent": "test_infinite.py::"
    "test_the_functions_of_distinct_points_are_independent_in_exact_arithmetic",
    "thm-infinite": "test_infinite.py::test_every_point_with_a_coefficient_is_needed",
    "prop-points": "test_kernel_points.py::test_no_other_coefficients_come_closer",
    "thm-kip": "test_kip.py::test_at_lam_above_0_an_exact_set_minimises_the_loss_with_the_penalty_only",
    "prop-label-solve": "test_kip.py::test_no_other_labels_are_better_and_lam_S_does_not_change_the_model",
    "prop-condense": "test_theorems.py::test_statistics_are_enough_for_labels_no_longer_than_the_targets",
    "prop-set-is-model": "test_privacy_attacks.py::test_one_line_recovers_the_model_of_every_exact_set",
    "prop-many-explanations": "test_privacy_attacks.py::"
    "test_many_data_explain_a_model_of_many_samples_or_of_a_linear_map",
    "thm-local-data": "test_privacy_attacks.py::"
    "test_almost_every_smooth_layer_determines_its_data_from_the_count_on",
    "prop-membership": "test_privacy_attacks.py::test_training_on_a_sample_divides_its_residual_by_one_plus_its_leverage",
    "prop-null-noise": "test_privacy_attacks.py::test_noise_in_the_null_space_of_the_labels_hides_nothing",
    "lem-sensitivity": "test_privacy.py::test_one_sample_moves_the_sums_by_at_most_the_sensitivity",
    "thm-analytic-gaussian": "test_privacy.py::test_delta_is_the_closed_form_in_sixty_digits",
    "thm-release": "test_privacy.py::test_any_distilled_set_of_a_release_trains_its_model_exactly",
    "thm-sums": "test_statistics.py::test_adding_removing_and_merging_give_the_sums_of_what_is_left",
    "prop-scaling": "test_estimator.py::test_one_global_scale_leaves_the_set_exact_in_raw_units",
    "prop-weights": "test_estimator_weights.py::test_weights_give_the_model_of_ridge_with_the_same_weights",
    "prop-bytes": "test_results.py::test_sums_over_bytes_are_exact_and_standardised_afterwards",
}


def headed(text):
    """Each theorem, proposition, lemma and corollary of a page, with the line below its title: its label, if it has one."""
    lines = text.splitlines()
    return [(line, below) for line, below in zip(lines, [*lines[1:], ""], strict=True) if STATEMENT.match(line)]


@functools.cache
def book():
    """The statements of all pages."""
    pages = [path.read_text(encoding="utf-8") for path in notebooks.CHAPTERS.glob("*.md")]
    for path in notebooks.find():
        pages += [cell.source for cell in notebooks.read(path).cells if cell.cell_type == "markdown"]
    return [one for page in pages for one in headed(page)]


def stated():
    """Their labels."""
    return {below.removeprefix(":label: ").strip() for _, below in book()}


def functions_of(path):
    """The test functions of a file with their docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"))
    return {node.name: ast.get_docstring(node) or "" for node in functions}


def named():
    """The labels in the docstrings of tests."""
    docstrings = (text for path in HERE.glob("test_*.py") for text in functions_of(path).values())
    return {label for text in docstrings for label in LABEL.findall(text)}


def test_every_statement_has_its_check_and_every_check_its_statement():
    book = stated()
    assert len(book) > 40
    assert sorted(book - set(CHECKS) - named()) == []  # without a check
    assert sorted((set(CHECKS) | named()) - book) == []  # no such statement


def test_every_statement_has_a_label_and_no_label_names_two():
    """Without one the lists above would pass it over."""
    labels = [below.removeprefix(":label: ") for _, below in book()]
    assert [one for one, label in zip(book(), labels, strict=True) if not LABEL.fullmatch(label)] == []
    assert len(labels) == len(set(labels))


def test_a_statement_without_a_label_is_seen():
    page = "text\n:::{prf:theorem} Named\n:label: thm-a\n\nText.\n:::\n::::{prf:lemma}\nText.\n::::\n:::{prf:proof}\n"
    assert headed(page) == [(":::{prf:theorem} Named", ":label: thm-a"), ("::::{prf:lemma}", "Text.")]


def test_a_statement_without_a_check_is_found():
    assert "thm-twice" in stated() and "thm-nothing" not in stated()
    assert LABEL.findall("thm-linear-labels, cor-linear-one-hot (1); lem-normal.") == [
        "thm-linear-labels",
        "cor-linear-one-hot",
        "lem-normal",
    ]


@pytest.mark.parametrize("label, check", CHECKS.items(), ids=list(CHECKS))
def test_the_check_of_a_statement_exists(label, check):
    file, name = check.split("::")
    assert name in functions_of(HERE / file)
