extension HelpTopic {
    /// `peftfile help numerics`.
    static let numerics = HelpTopic(
        name: "numerics", abstract: "which numbers a merge writes, and what verify proves",
        blocks: [
            .heading("A merged element"),
            .paragraph(
                "is round(W + update). The update is computed in float64 in one defined order (for LoRA: k = 0 to r-1 by fused "
                    + "multiply-add from zero, then the scale), added to the widened W in float64, and rounded once to the dtype that is "
                    + "written, ties to even. There is one such number, so the bytes do not depend on the processor, the number of "
                    + "threads, the shards or a resume. Float32 is used only where a proven bound shows that it gives the same number."),
            .list([
                ("several adapters", "each is taken against the original W; their updates are summed in the order of the arguments"),
                (
                    "decompositions",
                    "PiSSA, OLoRA, KaSA and OSF decompose the base with LAPACK: their bytes can depend on its build, and the receipt says so"
                ),
                ("NaN", "results that are NaN have one pattern of bits"),
            ]),
            .heading("Beside other tools"),
            .paragraph(
                "PEFT merges in float32 or in the adapter's dtype, so a 16-bit element of its merge can lie one ulp (the distance to "
                    + "the next number that the dtype has) away from ours."),
            .heading("What verify proves"),
            .paragraph(
                "Every element is computed again in float64 by OpenBLAS, which has no part in a merge, to v with a proven bound E of the "
                    + "difference between the two computations. An element is right if it is round(v - E) or round(v + E). "
                    + "--max-ulp lets results of other tools lie further away."),
            .heading("What rounding loses"),
            .paragraph(
                "An update can be smaller than half the distance between two numbers of the dtype, and is then lost. merge reports the "
                    + "share of updated elements that did not change, and the norm of what was stored against the norm of the update; "
                    + "--dtype f32 keeps it."),
        ])
}
