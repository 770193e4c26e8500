/// The page's style sheet: system fonts, light and dark, from a phone to a wide screen.
enum ReportStyle {
    static let sheet = """
        :root { --page: #fbfaf7; --card: #ffffff; --ink: #1d2329; --soft: #59636e; --rule: #dcdfe3; --line: #14618f; --warn: #b3400f;
          --h0: #e6f0f6; --h1: #cbe1ee; --h2: #a5cde2; --h3: #78b4d3; --h4: #4a97c0; --h5: #2a79a7; --h6: #145a86; --h7: #063b60;
          --on-low: #1d2329; --on-mid: #10161b; --on-high: #ffffff; }
        @media (prefers-color-scheme: dark) {
          :root { --page: #14171a; --card: #1c2126; --ink: #e7eaed; --soft: #a3adb7; --rule: #353c44; --line: #7cc4ec; --warn: #ff9d6b;
            --h0: #17303f; --h1: #1b4258; --h2: #205773; --h3: #286f92; --h4: #3a8db6; --h5: #5dadd3; --h6: #90cdea; --h7: #cdeafa;
            --on-low: #ffffff; --on-mid: #0b1217; --on-high: #0b1217; } }
        * { box-sizing: border-box; }
        body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
        main { max-width: 72rem; margin: 0 auto; padding: 1.25rem 1rem 3rem; }
        .eyebrow { margin: 0; color: var(--soft); font-size: .85rem; letter-spacing: .04em; }
        h1 { margin: 0 0 .75rem; font-size: 1.7rem; line-height: 1.2; overflow-wrap: anywhere; }
        h2 { margin: 0 0 .25rem; font-size: 1.2rem; }
        h3 { margin: 1rem 0 .4rem; font-size: .95rem; font-weight: 600; overflow-wrap: anywhere; }
        p { margin: .25rem 0 .75rem; max-width: 44rem; }
        dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(10.5rem, 1fr)); gap: .6rem 1.25rem; margin: 0 0 1rem; }
        dt { color: var(--soft); font-size: .8rem; }
        dd { margin: 0; font-weight: 600; overflow-wrap: anywhere; }
        section { background: var(--card); border: 1px solid var(--rule); border-radius: .6rem; padding: 1rem; margin: 1rem 0; }
        figure { margin: 0; min-width: 0; }
        figcaption { font-size: .85rem; overflow-wrap: anywhere; }
        details { margin-top: .75rem; }
        summary { cursor: pointer; font-weight: 600; color: var(--line); padding: .35rem 0; }
        summary:focus-visible, .scroll:focus-visible { outline: 2px solid var(--line); outline-offset: 2px; }
        .scroll { overflow-x: auto; }
        table { border-collapse: collapse; font-size: .85rem; }
        caption { text-align: left; color: var(--soft); padding: .25rem 0; }
        .figures th, .figures td { padding: .25rem .9rem .25rem 0; border-bottom: 1px solid var(--rule); text-align: left; white-space: nowrap; font-weight: 400; }
        .figures thead th { color: var(--soft); }
        .figures .n, .map td { text-align: right; font-variant-numeric: tabular-nums; }
        .map { border-collapse: separate; border-spacing: 2px; }
        .map thead th { vertical-align: bottom; font-weight: 400; }
        .map thead span { writing-mode: vertical-rl; transform: rotate(180deg); white-space: nowrap; }
        .map tbody th { font-weight: 400; color: var(--soft); text-align: right; padding-right: .4rem; }
        .map td { height: 1.35rem; min-width: 1.35rem; border-radius: 3px; padding: 0 .3rem; font-size: .75rem; }
        .map .empty { background: none; }
        .map .zero { border: 1px dashed var(--warn); color: var(--warn); }
        .map td span { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
        .h0, .h1, .h2, .h3 { color: var(--on-low); } .h4 { color: var(--on-mid); } .h5, .h6, .h7 { color: var(--on-high); }
        .h0 { background: var(--h0); } .h1 { background: var(--h1); } .h2 { background: var(--h2); } .h3 { background: var(--h3); }
        .h4 { background: var(--h4); } .h5 { background: var(--h5); } .h6 { background: var(--h6); } .h7 { background: var(--h7); }
        .legend { display: flex; align-items: center; gap: .5rem; font-size: .8rem; color: var(--soft); flex-wrap: wrap; }
        .legend div { display: flex; } .legend i { display: block; width: 1.4rem; height: .8rem; }
        .grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(13.5rem, 1fr)); gap: 1rem; }
        .wide { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 24rem), 1fr)); gap: .75rem 2rem; }
        svg { display: block; width: 100%; height: auto; }
        svg.key { display: inline-block; width: .75em; vertical-align: baseline; }
        svg text { fill: var(--soft); font-size: 10px; }
        .axis { stroke: var(--rule); stroke-width: 1; }
        .curve { fill: none; stroke: var(--line); stroke-width: 1.25; stroke-opacity: .45; }
        .dot { fill: var(--line); fill-opacity: .45; }
        .flagged { stroke: var(--warn); stroke-opacity: 1; } .dot.flagged { fill: var(--warn); fill-opacity: 1; stroke: none; }
        .warn { color: var(--warn); font-weight: 600; }
        .q { white-space: nowrap; }
        .soft { color: var(--soft); }
        footer { color: var(--soft); font-size: .8rem; }
        @media (max-width: 40rem) { .figures tbody th { white-space: normal; overflow-wrap: anywhere; min-width: 8.5rem; } }
        @media (min-width: 60rem) {
          .map.few td span { position: static; width: auto; height: auto; clip-path: none; }
          .map.few td { min-width: 4.2rem; }
          .wide svg text { font-size: 7px; }
        }

        """
}
