"""Every bound, one line each. To add one: a function, a line here, an oracle test."""

from bounds import (
    compression,
    counting,
    curvature,
    fantastic,
    flatness,
    function_prior,
    norm_products,
    pac_bayes,
    path_norms,
    perturbation,
    representation,
    sharpness,
    spectral,
    spectral_certified,
    training_speed,
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
_MAURER_2004 = "Langford & Seeger 2001; Maurer 2004, arXiv cs/0411099, Thm 5"
_JIANG_2020 = "Jiang et al. 2020, arXiv 1912.02178"
_MARTIN_2021 = "Martin, Peng, Mahoney 2021, Nature Communications 12"
_ZHOU_2019 = "Zhou, Veitch, Austern, Adams, Orbanz 2019, arXiv 1804.05862; Lotfi et al. 2022, arXiv 2211.13609"
_ANDRIUSHCHENKO_2023 = (
    "Andriushchenko, Croce, Mueller, Hein, Flammarion 2023, arXiv 2302.07011"
)
_NATEKAR_2020 = "Natekar & Sharma 2020, arXiv 2012.02775"
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
    # PAC-Bayes: one noise for all weights, one for each layer, a learned posterior.
    "maurer_2004_kl": BoundSpec(pac_bayes.maurer_2004_kl, _MAURER_2004, CERTIFIED, "stochastic", two_sided=True, also=("pb_kl",)),
    "mcallester_1999": BoundSpec(pac_bayes.mcallester_1999, f"McAllester 1999; {_MAURER_2004}", CERTIFIED, "stochastic", two_sided=True, also=("pb_mcallester",)),
    "rivasplata_2019_quadratic": BoundSpec(pac_bayes.rivasplata_2019_quadratic, "Rivasplata et al. 2019, arXiv 1908.07380", CERTIFIED, "stochastic", two_sided=True, also=("pb_quadratic",)),
    "thiemann_2017_lambda": BoundSpec(pac_bayes.thiemann_2017_lambda, "Thiemann, Igel, Wintenberger, Seldin 2017, arXiv 1608.05610", CERTIFIED, "stochastic", two_sided=True, also=("pb_lambda",)),
    "tolstikhin_2013": BoundSpec(pac_bayes.tolstikhin_2013, "Tolstikhin & Seldin 2013, NeurIPS", CERTIFIED, "stochastic", two_sided=True, also=("pb_tolstikhin_seldin",)),
    "catoni_2007": BoundSpec(pac_bayes.catoni_2007, "Catoni 2007, arXiv 0712.0248, Thm 1.2.6", CERTIFIED, "stochastic", also=("pb_catoni",)),
    "maurer_2004_kl_layers": BoundSpec(pac_bayes.maurer_2004_kl, _MAURER_2004, CERTIFIED, "stochastic", two_sided=True, bind={"gibbs": "gibbs_layers"}),
    "mcallester_1999_layers": BoundSpec(pac_bayes.mcallester_1999, f"McAllester 1999; {_MAURER_2004}", CERTIFIED, "stochastic", two_sided=True, bind={"gibbs": "gibbs_layers"}),
    "rivasplata_2019_quadratic_layers": BoundSpec(pac_bayes.rivasplata_2019_quadratic, "Rivasplata et al. 2019, arXiv 1908.07380", CERTIFIED, "stochastic", two_sided=True, bind={"gibbs": "gibbs_layers"}),
    "thiemann_2017_lambda_layers": BoundSpec(pac_bayes.thiemann_2017_lambda, "Thiemann, Igel, Wintenberger, Seldin 2017, arXiv 1608.05610", CERTIFIED, "stochastic", two_sided=True, bind={"gibbs": "gibbs_layers"}),
    "tolstikhin_2013_layers": BoundSpec(pac_bayes.tolstikhin_2013, "Tolstikhin & Seldin 2013, NeurIPS", CERTIFIED, "stochastic", two_sided=True, bind={"gibbs": "gibbs_layers"}),
    "catoni_2007_layers": BoundSpec(pac_bayes.catoni_2007, "Catoni 2007, arXiv 0712.0248, Thm 1.2.6", CERTIFIED, "stochastic", bind={"gibbs": "gibbs_layers"}),
    "maurer_2004_kl_posterior": BoundSpec(pac_bayes.maurer_2004_kl, _MAURER_2004, CERTIFIED, "stochastic", two_sided=True, bind={"gibbs": "gibbs_posterior"}),
    "mcallester_1999_posterior": BoundSpec(pac_bayes.mcallester_1999, f"McAllester 1999; {_MAURER_2004}", CERTIFIED, "stochastic", two_sided=True, bind={"gibbs": "gibbs_posterior"}),
    "rivasplata_2019_quadratic_posterior": BoundSpec(pac_bayes.rivasplata_2019_quadratic, "Rivasplata et al. 2019, arXiv 1908.07380", CERTIFIED, "stochastic", two_sided=True, bind={"gibbs": "gibbs_posterior"}),
    "thiemann_2017_lambda_posterior": BoundSpec(pac_bayes.thiemann_2017_lambda, "Thiemann, Igel, Wintenberger, Seldin 2017, arXiv 1608.05610", CERTIFIED, "stochastic", two_sided=True, bind={"gibbs": "gibbs_posterior"}),
    "tolstikhin_2013_posterior": BoundSpec(pac_bayes.tolstikhin_2013, "Tolstikhin & Seldin 2013, NeurIPS", CERTIFIED, "stochastic", two_sided=True, bind={"gibbs": "gibbs_posterior"}),
    "catoni_2007_posterior": BoundSpec(pac_bayes.catoni_2007, "Catoni 2007, arXiv 0712.0248, Thm 1.2.6", CERTIFIED, "stochastic", bind={"gibbs": "gibbs_posterior"}),
    "dziugaite_roy_2017": BoundSpec(pac_bayes.dziugaite_roy_2017, "Dziugaite & Roy 2017, arXiv 1703.11008", CERTIFIED, "stochastic", two_sided=True, bind={"gibbs": "gibbs_posterior"}, also=("dziugaite_roy17",)),
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
    # "Fantastic generalization measures" that need noise.
    "pacbayes_init": BoundSpec(flatness.pacbayes_init, _JIANG_2020, HEURISTIC),
    "pacbayes_orig": BoundSpec(flatness.pacbayes_orig, _JIANG_2020, HEURISTIC),
    "pacbayes_flatness": BoundSpec(flatness.pacbayes_flatness, _JIANG_2020, HEURISTIC),
    "pacbayes_mag_init": BoundSpec(flatness.pacbayes_mag_init, _JIANG_2020, HEURISTIC),
    "pacbayes_mag_orig": BoundSpec(flatness.pacbayes_mag_orig, _JIANG_2020, HEURISTIC),
    "pacbayes_mag_flatness": BoundSpec(flatness.pacbayes_mag_flatness, _JIANG_2020, HEURISTIC),
    # Shapes of spectra.
    "stable_rank": BoundSpec(weight_watcher.stable_rank, _MARTIN_2021, HEURISTIC),
    "log_norm": BoundSpec(weight_watcher.log_norm, _MARTIN_2021, HEURISTIC),
    "log_spectral_norm": BoundSpec(weight_watcher.log_spectral_norm, _MARTIN_2021, HEURISTIC),
    "alpha": BoundSpec(weight_watcher.alpha, _MARTIN_2021, HEURISTIC),
    "alpha_weighted": BoundSpec(weight_watcher.alpha_weighted, _MARTIN_2021, HEURISTIC),
    "log_alpha_norm": BoundSpec(weight_watcher.log_alpha_norm, _MARTIN_2021, HEURISTIC),
    # A prior over functions.
    "valle_perez_2020": BoundSpec(function_prior.valle_perez_2020, "Valle-Perez & Louis 2020, arXiv 2012.04115", HEURISTIC, "algorithm", fully_connected=True, also=("gp_marginal_likelihood",)),
    # Compression: quantised, coded and decoded again.
    "zhou_2019_code": BoundSpec(compression.zhou_2019, _ZHOU_2019, CERTIFIED, "compressed", also=("compression",)),
    "zhou_2019_code_from_origin": BoundSpec(compression.zhou_2019, _ZHOU_2019, CERTIFIED, "compressed", bind={"code": "code_from_origin"}),
    "arora_2018_code": BoundSpec(compression.zhou_2019, f"Arora, Ge, Neyshabur, Zhang 2018, arXiv 1802.05296, Algorithm 1; {_ZHOU_2019}", CERTIFIED, "compressed", bind={"code": "code_projected"}, fully_connected=True, without_biases=True),
    "lotfi_2022_subspace": BoundSpec(compression.zhou_2019, _ZHOU_2019, CERTIFIED, "compressed", bind={"code": "code_subspace"}),
    # Sharpness and curvature.
    "sharpness_init": BoundSpec(sharpness.sharpness_init, _JIANG_2020, HEURISTIC),
    "sharpness_orig": BoundSpec(sharpness.sharpness_orig, _JIANG_2020, HEURISTIC),
    "sharpness_flatness": BoundSpec(sharpness.sharpness_flatness, _JIANG_2020, HEURISTIC),
    "sharpness_mag_init": BoundSpec(sharpness.sharpness_mag_init, _JIANG_2020, HEURISTIC),
    "sharpness_mag_orig": BoundSpec(sharpness.sharpness_mag_orig, _JIANG_2020, HEURISTIC),
    "sharpness_mag_flatness": BoundSpec(sharpness.sharpness_mag_flatness, _JIANG_2020, HEURISTIC),
    "average_sharpness": BoundSpec(sharpness.average_sharpness, _ANDRIUSHCHENKO_2023, HEURISTIC),
    "adaptive_average_sharpness": BoundSpec(sharpness.adaptive_average_sharpness, _ANDRIUSHCHENKO_2023, HEURISTIC),
    "worst_sharpness": BoundSpec(sharpness.worst_sharpness, f"Keskar et al. 2017, arXiv 1609.04836; {_ANDRIUSHCHENKO_2023}", HEURISTIC),
    "adaptive_worst_sharpness": BoundSpec(sharpness.adaptive_worst_sharpness, f"Kwon, Kim, Park, Choi 2021, arXiv 2102.11600; {_ANDRIUSHCHENKO_2023}", HEURISTIC),
    "hessian_top_eigenvalue": BoundSpec(curvature.hessian_top_eigenvalue, "Keskar et al. 2017, arXiv 1609.04836; Yao, Gholami, Keutzer, Mahoney 2020, arXiv 1912.07145", HEURISTIC),
    "hessian_trace": BoundSpec(curvature.hessian_trace, "Yao, Gholami, Keutzer, Mahoney 2020, arXiv 1912.07145", HEURISTIC),
    # How training went.
    "steps_to_01": BoundSpec(training_speed.steps_to_01, _JIANG_2020, HEURISTIC),
    "steps_01_to_001": BoundSpec(training_speed.steps_01_to_001, _JIANG_2020, HEURISTIC),
    "sotl": BoundSpec(training_speed.sotl, "Lyle, Schut, Ru, Gal, van der Wilk 2020, arXiv 2010.14499", HEURISTIC),
    "sotl_10": BoundSpec(training_speed.sotl_10, "Ru et al. 2021, arXiv 2006.04492", HEURISTIC),
    "gradient_noise_epoch1": BoundSpec(training_speed.gradient_noise, _JIANG_2020, HEURISTIC, bind={"gradients": "gradients_first_epoch"}),
    "gradient_noise_final": BoundSpec(training_speed.gradient_noise, _JIANG_2020, HEURISTIC),
    # What the layers make of the examples.
    "hidden_margin": BoundSpec(representation.hidden_margin, "Jiang, Krishnan, Mobahi, Bengio 2019, arXiv 1810.00113", HEURISTIC),
    "mixup_error": BoundSpec(representation.mixup_error, _NATEKAR_2020, HEURISTIC),
    "davies_bouldin": BoundSpec(representation.davies_bouldin, f"Davies & Bouldin 1979; {_NATEKAR_2020}", HEURISTIC),
}
# fmt: on
