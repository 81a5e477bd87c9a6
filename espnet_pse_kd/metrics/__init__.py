"""The metrics of docs/method.md as functions of arrays, one module per question.

`separation` (SI-SDR, level), `suppression` (TSOS, deletion), `leakage`, `quality`
(STOI, DNSMOS), `distillmos`, `oracle` (reference masks), `teacher` (personal VAD),
`recognition` (word errors), `intervals` (bootstrap over speakers and seeds).
"""
