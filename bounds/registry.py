"""Every bound, one line each. To add one: a function, a line here, an oracle test."""

from bounds import (
    counting,
    fantastic,
    norm_products,
    path_norms,
    perturbation,
    spectral,
    spectral_certified,
    two_layer,
    weight_watcher,
)
from bounds.types import (
    CERTIFIED,
    HEURISTIC,
    UNDER_ASSUMPTION,
    UP_TO_CONSTANTS,
    BoundSpec,
)

_NEYSHABUR_2015 = "Neyshabur, Tomioka, Srebro 2015, arXiv 1503.00036"
_NEYSHABUR_2018 = "Neyshabur, Bhojanapalli, Srebro 2018, arXiv 1707.09564, Thm 1"
_BARTLETT_2017 = "Bartlett, Foster, Telgarsky 2017, arXiv 1706.08498, Thm 1.1"
_GOLOWICH_2018 = "Golowich, Rakhlin, Shamir 2018, arXiv 1712.06541"
_NEYSHABUR_2019 = "Neyshabur et al. 2019, arXiv 1805.12076, Thm 2"
_GENERALIZATION_BOUNDS = "as in Neyshabur's code generalization-bounds, 2018"
_JIANG_2020 = "Jiang et al. 2020, arXiv 1912.02178"
_MARTIN_2021 = "Martin, Peng, Mahoney 2021, Nature Communications 12"
_CIRCULAR = {"kernels": "circular", "kernels_from_init": "circular_from_init"}

# fmt: off
BOUNDS = {
    # What any bound or measure must beat.
    "train_error": BoundSpec(counting.train_error, "Vapnik & Chervonenkis 1971: the empirical risk", HEURISTIC),
    "holdout_cp": BoundSpec(counting.holdout_cp, "Clopper & Pearson 1934", CERTIFIED),
    # Counting.
    "bartlett_1998_vc": BoundSpec(counting.bartlett_1998_vc, "Bartlett, Maiorov, Meir 1998; Telgarsky's lecture notes, Thm 17.4", CERTIFIED, two_sided=True, fully_connected=True, also=("vc_piecewise",)),
    "bartlett_2019_vc": BoundSpec(counting.bartlett_2019_vc, "Bartlett, Harvey, Liaw, Mehrabian 2019, arXiv 1703.02930, Thm 7", CERTIFIED, two_sided=True, fully_connected=True, also=("vc_harvey",)),
    "occam_float32": BoundSpec(counting.occam_float32, "Blumer, Ehrenfeucht, Haussler, Warmuth 1987", CERTIFIED, two_sided=True, also=("occam_float",)),
    # Products of norms.
    "golowich_2018_l1": BoundSpec(norm_products.golowich_2018_l1, f"{_GOLOWICH_2018}, Thm 2", UP_TO_CONSTANTS, two_sided=True),
    "golowich_2018_l1_certified": BoundSpec(norm_products.golowich_2018_l1_certified, f"{_GOLOWICH_2018}, Thm 2; Bartlett & Mendelson 2002", CERTIFIED, two_sided=True, also=("l1_inf",)),
    "golowich_2018_l1_path": BoundSpec(norm_products.golowich_2018_l1_path, f"{_GOLOWICH_2018}, Thm 2, layers rescaled", UP_TO_CONSTANTS, two_sided=True),
    "golowich_2018_l1_path_certified": BoundSpec(norm_products.golowich_2018_l1_path_certified, f"{_GOLOWICH_2018}, Thm 2, layers rescaled", CERTIFIED, two_sided=True, also=("path_l1",)),
    "golowich_2018_frobenius": BoundSpec(norm_products.golowich_2018_frobenius, f"{_GOLOWICH_2018}, Thm 1", UP_TO_CONSTANTS, two_sided=True),
    "golowich_2018_frobenius_certified": BoundSpec(norm_products.golowich_2018_frobenius_certified, f"{_GOLOWICH_2018}, Thm 1", CERTIFIED, two_sided=True, also=("fro_golowich",)),
    "neyshabur_2015_frobenius": BoundSpec(norm_products.neyshabur_2015_frobenius, f"{_NEYSHABUR_2015}, Thm 1", UP_TO_CONSTANTS, two_sided=True, also=("fro_neyshabur15",)),
    "neyshabur_2015_frobenius_certified": BoundSpec(norm_products.neyshabur_2015_frobenius_certified, f"{_NEYSHABUR_2015}, Thm 1", CERTIFIED, two_sided=True),
    "l3_15_product": BoundSpec(norm_products.l3_15_product, f"{_NEYSHABUR_2015}, {_GENERALIZATION_BOUNDS}", HEURISTIC, also=("l3_1.5",)),
    "schatten_15_product": BoundSpec(norm_products.schatten_15_product, f"{_GOLOWICH_2018}, {_GENERALIZATION_BOUNDS}", HEURISTIC, also=("schatten",)),
    "trace_product": BoundSpec(norm_products.trace_product, f"{_GOLOWICH_2018}, {_GENERALIZATION_BOUNDS}", HEURISTIC, also=("trace",)),
    # Path norms.
    "gonon_2024": BoundSpec(path_norms.gonon_2024, "Gonon, Brisebarre, Riccietti, Gribonval 2024, arXiv 2310.01225", UP_TO_CONSTANTS, two_sided=True, fully_connected=True, also=("gonon24",)),
    "neyshabur_2015_path_l1": BoundSpec(path_norms.path_l1, f"{_NEYSHABUR_2015}, {_GENERALIZATION_BOUNDS}", HEURISTIC, also=("path_l1",)),
    "neyshabur_2015_path_l15": BoundSpec(path_norms.path_l15, f"{_NEYSHABUR_2015}, {_GENERALIZATION_BOUNDS}", HEURISTIC, also=("path_l1.5",)),
    "neyshabur_2015_path_l2": BoundSpec(path_norms.path_l2, f"{_NEYSHABUR_2015}, {_GENERALIZATION_BOUNDS}", HEURISTIC, also=("path_l2",)),
    # Spectral norms.
    "neyshabur_2018": BoundSpec(spectral.neyshabur_2018, _NEYSHABUR_2018, UP_TO_CONSTANTS, two_sided=True, bind={"reference": "from_init"}, also=("pac_spectral_init", "neyshabur18")),
    "neyshabur_2018_from_origin": BoundSpec(spectral.neyshabur_2018, _NEYSHABUR_2018, UP_TO_CONSTANTS, two_sided=True, bind={"reference": "from_origin"}, also=("pac_spectral_origin",)),
    "neyshabur_2018_between_draws": BoundSpec(spectral.neyshabur_2018, _NEYSHABUR_2018, HEURISTIC, bind={"reference": "from_other"}, also=("pac_spectral_pair",)),
    "neyshabur_2018_layer_widths": BoundSpec(spectral.neyshabur_2018_layer_widths, f"{_NEYSHABUR_2018}, {_GENERALIZATION_BOUNDS}", UP_TO_CONSTANTS, two_sided=True, bind={"reference": "from_init"}),
    "neyshabur_2018_certified": BoundSpec(spectral_certified.neyshabur_2018_certified, _NEYSHABUR_2018, CERTIFIED, two_sided=True, also=("neyshabur18_42",)),
    "neyshabur_2018_kl_certified": BoundSpec(spectral_certified.neyshabur_2018_kl_certified, f"after {_NEYSHABUR_2018}; Maurer 2004", CERTIFIED, two_sided=True, also=("pac_bayes_spectral_det",)),
    "bartlett_2017": BoundSpec(spectral.bartlett_2017, _BARTLETT_2017, UP_TO_CONSTANTS, two_sided=True, bind={"reference": "from_init"}, also=("covering_spectral_init", "bartlett17")),
    "bartlett_2017_between_draws": BoundSpec(spectral.bartlett_2017, _BARTLETT_2017, HEURISTIC, bind={"reference": "from_other"}, also=("covering_spectral_pair",)),
    "bartlett_2017_with_logs": BoundSpec(spectral.bartlett_2017_with_logs, _BARTLETT_2017, UP_TO_CONSTANTS, two_sided=True, bind={"reference": "from_init"}),
    "bartlett_2017_certified": BoundSpec(spectral_certified.bartlett_2017_certified, f"after {_BARTLETT_2017}", CERTIFIED, two_sided=True, also=("bartlett17_certified",)),
    "bartlett_2017_lemma_a8": BoundSpec(spectral_certified.bartlett_2017_lemma_a8, "Bartlett, Foster, Telgarsky 2017, arXiv 1706.08498, Lemma A.8", UNDER_ASSUMPTION, two_sided=True, assumption="the lemma's constants are as recalled", also=("bartlett17_lemma_a8",)),
    # Two layers.
    "neyshabur_2019": BoundSpec(two_layer.neyshabur_2019, _NEYSHABUR_2019, UP_TO_CONSTANTS, two_sided=True, weight_matrices=2, fully_connected=True, also=("unilayer", "neyshabur19")),
    "neyshabur_2019_constants": BoundSpec(two_layer.neyshabur_2019_constants, _NEYSHABUR_2019, UNDER_ASSUMPTION, two_sided=True, weight_matrices=2, fully_connected=True, assumption="the theorem's constants are those of its authors' code", also=("neyshabur19_const",)),
    # Noise and compression.
    "arora_2018": BoundSpec(perturbation.arora_2018, "Arora, Ge, Neyshabur, Zhang 2018, arXiv 1802.05296, Thm 4.1", UP_TO_CONSTANTS, "compressed", fully_connected=True, without_biases=True, also=("arora18",)),
    "nagarajan_kolter_2019": BoundSpec(perturbation.nagarajan_kolter_2019, "Nagarajan & Kolter 2019, arXiv 1905.13344", HEURISTIC, fully_connected=True, also=("nagarajan_kolter19_det",)),
    # "Fantastic generalization measures".
    "params": BoundSpec(fantastic.params, _JIANG_2020, HEURISTIC),
    "inverse_margin": BoundSpec(fantastic.inverse_margin, _JIANG_2020, HEURISTIC),
    "log_prod_of_spec": BoundSpec(fantastic.log_prod_of_spec, _JIANG_2020, HEURISTIC),
    "log_prod_of_spec_over_margin": BoundSpec(fantastic.log_prod_of_spec_over_margin, _JIANG_2020, HEURISTIC),
    "log_spec_init_main": BoundSpec(fantastic.log_spec_init_main, _JIANG_2020, HEURISTIC),
    "log_spec_orig_main": BoundSpec(fantastic.log_spec_orig_main, _JIANG_2020, HEURISTIC),
    "fro_over_spec": BoundSpec(fantastic.fro_over_spec, _JIANG_2020, HEURISTIC),
    "log_sum_of_spec": BoundSpec(fantastic.log_sum_of_spec, _JIANG_2020, HEURISTIC),
    "log_sum_of_spec_over_margin": BoundSpec(fantastic.log_sum_of_spec_over_margin, _JIANG_2020, HEURISTIC),
    "dist_spec_init": BoundSpec(fantastic.dist_spec_init, _JIANG_2020, HEURISTIC),
    "log_prod_of_spec_fft": BoundSpec(fantastic.log_prod_of_spec, _JIANG_2020, HEURISTIC, bind=_CIRCULAR),
    "log_prod_of_spec_over_margin_fft": BoundSpec(fantastic.log_prod_of_spec_over_margin, _JIANG_2020, HEURISTIC, bind=_CIRCULAR),
    "log_spec_init_main_fft": BoundSpec(fantastic.log_spec_init_main, _JIANG_2020, HEURISTIC, bind=_CIRCULAR),
    "log_spec_orig_main_fft": BoundSpec(fantastic.log_spec_orig_main, _JIANG_2020, HEURISTIC, bind=_CIRCULAR),
    "fro_over_spec_fft": BoundSpec(fantastic.fro_over_spec, _JIANG_2020, HEURISTIC, bind=_CIRCULAR),
    "log_sum_of_spec_fft": BoundSpec(fantastic.log_sum_of_spec, _JIANG_2020, HEURISTIC, bind=_CIRCULAR),
    "log_sum_of_spec_over_margin_fft": BoundSpec(fantastic.log_sum_of_spec_over_margin, _JIANG_2020, HEURISTIC, bind=_CIRCULAR),
    "dist_spec_init_fft": BoundSpec(fantastic.dist_spec_init, _JIANG_2020, HEURISTIC, bind=_CIRCULAR),
    "log_prod_of_fro": BoundSpec(fantastic.log_prod_of_fro, _JIANG_2020, HEURISTIC),
    "log_prod_of_fro_over_margin": BoundSpec(fantastic.log_prod_of_fro_over_margin, _JIANG_2020, HEURISTIC),
    "log_sum_of_fro": BoundSpec(fantastic.log_sum_of_fro, _JIANG_2020, HEURISTIC),
    "log_sum_of_fro_over_margin": BoundSpec(fantastic.log_sum_of_fro_over_margin, _JIANG_2020, HEURISTIC),
    "fro_dist": BoundSpec(fantastic.fro_dist, _JIANG_2020, HEURISTIC),
    "param_norm": BoundSpec(fantastic.param_norm, _JIANG_2020, HEURISTIC),
    "path_norm": BoundSpec(fantastic.path_norm, _JIANG_2020, HEURISTIC),
    "path_norm_over_margin": BoundSpec(fantastic.path_norm_over_margin, _JIANG_2020, HEURISTIC),
    "l2": BoundSpec(fantastic.l2, _JIANG_2020, HEURISTIC),
    "l2_dist": BoundSpec(fantastic.l2_dist, _JIANG_2020, HEURISTIC),
    "cross_entropy": BoundSpec(fantastic.cross_entropy, _JIANG_2020, HEURISTIC),
    "neg_output_entropy": BoundSpec(fantastic.neg_output_entropy, _JIANG_2020, HEURISTIC, also=("neg_entropy",)),
    # Shapes of spectra.
    "stable_rank": BoundSpec(weight_watcher.stable_rank, _MARTIN_2021, HEURISTIC),
    "log_norm": BoundSpec(weight_watcher.log_norm, _MARTIN_2021, HEURISTIC),
    "log_spectral_norm": BoundSpec(weight_watcher.log_spectral_norm, _MARTIN_2021, HEURISTIC),
    "alpha": BoundSpec(weight_watcher.alpha, _MARTIN_2021, HEURISTIC),
    "alpha_weighted": BoundSpec(weight_watcher.alpha_weighted, _MARTIN_2021, HEURISTIC),
    "log_alpha_norm": BoundSpec(weight_watcher.log_alpha_norm, _MARTIN_2021, HEURISTIC),
}
# fmt: on
