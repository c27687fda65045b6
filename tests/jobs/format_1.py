"""A queue directory as the version before format 2 left it, letter by letter; WEB and WORK stand for dead claimers."""

from __future__ import annotations

# ruff: noqa: E501 - the lines are as long as they were in the files

FILES = {
    "FORMAT": ("slidehook queue 1\n"),
    "active/187afca769848140-00000007.p5.tissue-area.a1.WORK": (
        '{"format":1,"id":"187afca769848140-00000007","app_id":"tissue-area","slide_id":"active","priority":5,"created_at":1764000000.029,"origin":"user","input":{"type":"wholeSlide"},"context":{"secret":"x"},"callback_url":"http://dpat.example/sectra/api","cancellation_key":"a31720185b64012db275fd3013123a82303a8d68","callback_token":"token-of-active"}\n'
        '{"event":"result","at":1764000000.0300002,"attempt":0,"id":107,"version_id":1,"in_doubt":false}\n'
    ),
    "active/187afca769b24800-00000008.p5.tissue-area.a0.WEB": (
        '{"format":1,"id":"187afca769b24800-00000008","app_id":"tissue-area","slide_id":"held","priority":5,"created_at":1764000000.032,"origin":"user","input":{"type":"wholeSlide"},"callback_url":"http://dpat.example/sectra/api","cancellation_key":"6984fe7bc4f97af6b426574e06964018457c9248","callback_token":"token-of-held"}\n'
    ),
    "cancelled/2025-11-24/187afca76871d8c0-00000003.p5.tissue-area.a1": (
        '{"format":1,"id":"187afca76871d8c0-00000003","app_id":"tissue-area","slide_id":"cancelled","priority":5,"created_at":1764000000.0110002,"origin":"user","input":{"type":"wholeSlide"},"callback_url":"http://dpat.example/sectra/api","cancellation_key":"413b517a437d7517ec3850179bbf424f9cba4c80","callback_token":"******************"}\n'
        '{"event":"result","at":1764000000.012,"attempt":0,"id":103,"version_id":1,"in_doubt":false}\n'
        '{"event":"ended","at":1764000000.0140002,"attempt":1,"outcome":"cancelled","reason":"cancelled","seconds":null}\n'
    ),
    "done/2025-11-24/187afca767d94240-00000001.p5.tissue-area.a1": (
        '{"format":1,"id":"187afca767d94240-00000001","app_id":"tissue-area","slide_id":"done","priority":5,"created_at":1764000000.001,"origin":"user","input":{"type":"wholeSlide"},"callback_url":"http://dpat.example/sectra/api","cancellation_key":"92fd0309d6fe1d4f9f0c41881c75022f37f616f1","callback_token":"*************"}\n'
        '{"event":"result","at":1764000000.0019999,"attempt":0,"id":101,"version_id":1,"in_doubt":false}\n'
        '{"event":"ended","at":1764000000.004,"attempt":1,"outcome":"done","reason":"12 mm²","seconds":3.5}\n'
    ),
    "ending/187afca769477840-00000006.p5.tissue-area.a1.WORK.done": (
        '{"format":1,"id":"187afca769477840-00000006","app_id":"tissue-area","slide_id":"ending","priority":5,"created_at":1764000000.0249999,"origin":"import","input":{"type":"wholeSlide"},"callback_url":"http://dpat.example/sectra/api","image_info":{"id":"ending","image_size":{"width":1000,"height":800},"staining":{"display_name":""},"block":{"display_name":""}},"cancellation_key":"8c81d952b6bdf93912c44cf29d0f9207317b3db5","callback_token":"token-of-ending"}\n'
        '{"event":"result","at":1764000000.0259998,"attempt":0,"id":106,"version_id":1,"in_doubt":true}\n'
        '{"event":"ended","at":1764000000.028,"attempt":1,"outcome":"done","reason":"7 mm²","seconds":2.0}\n'
    ),
    "failed/2025-11-24/187afca768258d80-00000002.p5.tissue-area.a1": (
        '{"format":1,"id":"187afca768258d80-00000002","app_id":"tissue-area","slide_id":"failed","priority":5,"created_at":1764000000.006,"origin":"user","input":{"type":"wholeSlide"},"callback_url":"http://dpat.example/sectra/api","cancellation_key":"b708c8d56e50880336b7a2d642c0e3631dbdbb72","callback_token":"***************"}\n'
        '{"event":"result","at":1764000000.007,"attempt":0,"id":102,"version_id":1,"in_doubt":true}\n'
        '{"event":"ended","at":1764000000.0089998,"attempt":1,"outcome":"failed","reason":"no tissue","seconds":1.0,"trace":"Traceback: x"}\n'
    ),
    "notes/187afca769c18a40-00000009.187afca76a0dd580.token": ("a newer one"),
    "parked/187afcb5617f8e00.187afca7690a6f40-00000005.p5.tissue-area.a1": (
        '{"format":1,"id":"187afca7690a6f40-00000005","app_id":"tissue-area","slide_id":"parked-retry","priority":5,"created_at":1764000000.021,"origin":"user","input":{"type":"wholeSlide"},"callback_url":"http://dpat.example/sectra/api","cancellation_key":"bfac4c1b84805ed77340b86b26ee0558e79d1d3c","callback_token":"token-of-parked-retry"}\n'
        '{"event":"attempt-ended","at":1764000000.023,"attempt":1,"reason":"DPAT is away","claimer":null}\n'
    ),
    "parked/ffffffffffffffff.187afca768be2400-00000004.p5.tissue-area.a0": (
        '{"format":1,"id":"187afca768be2400-00000004","app_id":"tissue-area","slide_id":"parked-access","priority":5,"created_at":1764000000.016,"origin":"user","input":{"type":"wholeSlide"},"callback_url":"http://dpat.example/sectra/api","cancellation_key":"44e8c87a8a2ecc0b3230e9c9546eeef71c90a8b8","callback_token":"token-of-parked-access"}\n'
        '{"event":"result","at":1764000000.017,"attempt":0,"id":104,"version_id":1,"in_doubt":true}\n'
        '{"event":"result","at":1764000000.019,"attempt":1,"id":104,"version_id":2,"in_doubt":false}\n'
        '{"event":"attempt-ended","at":1764000000.02,"attempt":1,"reason":"waiting for access: refused","claimer":null}\n'
    ),
    "waiting/5/187afca767d94240/187afca769c18a40-00000009.p5.tissue-area.a0": (
        '{"format":1,"id":"187afca769c18a40-00000009","app_id":"tissue-area","slide_id":"waiting","priority":5,"created_at":1764000000.033,"origin":"user","input":{"type":"wholeSlide"},"callback_url":"http://dpat.example/sectra/api","cancellation_key":"09e9be96871c1798d19e16000df47f97807aff29","callback_token":"token-of-waiting"}\n'
        '{"event":"result","at":1764000000.034,"attempt":0,"id":109,"version_id":1,"in_doubt":false}\n'
    ),
    "waiting/7/187afca769e00ec0/187afca769e00ec0-0000000a.p7.tissue-area.a0": (
        '{"format":1,"id":"187afca769e00ec0-0000000a","app_id":"tissue-area","slide_id":"waiting-import","priority":7,"created_at":1764000000.035,"origin":"import","input":{"type":"wholeSlide"},"callback_url":"http://dpat.example/sectra/api","image_info":{"id":"waiting-import","image_size":{"width":1000,"height":800},"staining":{"display_name":""},"block":{"display_name":""}},"cancellation_key":"92f1d4b1f2db062a93fb379376fc52404215adce","callback_token":"token-of-waiting-import"}\n'
        '{"event":"result","at":1764000000.036,"attempt":0,"id":110,"version_id":1,"in_doubt":true}\n'
    ),
}
LINKS = {
    "aliases/09/09e9be96871c1798d19e16000df47f97807aff29": "waiting/5/187afca767d94240/187afca769c18a40-00000009.p5.tissue-area.a0",
    "aliases/33/33511cabe50f8ab47ab12a3cb533f823c108faf2": "parked/ffffffffffffffff.187afca768be2400-00000004.p5.tissue-area.a0",
    "aliases/3a/3a94b7c9348a3cdd7d86e0782cdf15dc5f9f094a": "waiting/7/187afca769e00ec0/187afca769e00ec0-0000000a.p7.tissue-area.a0",
    "aliases/44/44e8c87a8a2ecc0b3230e9c9546eeef71c90a8b8": "parked/ffffffffffffffff.187afca768be2400-00000004.p5.tissue-area.a0",
    "aliases/46/46a2a8016135fd99e6569292d80494c13ad939cc": "ending/187afca769477840-00000006.p5.tissue-area.a1.WORK.done",
    "aliases/69/6984fe7bc4f97af6b426574e06964018457c9248": "active/187afca769b24800-00000008.p5.tissue-area.a0.WEB",
    "aliases/75/75c979f17064b60f9c6d3404916c0eb6b349ec4a": "active/187afca769848140-00000007.p5.tissue-area.a1.WORK",
    "aliases/77/7777edfa8a84e5e9c2c225e92627eae12aae04c9": "parked/187afcb5617f8e00.187afca7690a6f40-00000005.p5.tissue-area.a1",
    "aliases/7d/7d1caf3161a91f74e6a47d54fcf5e1f28fdae328": "waiting/5/187afca767d94240/187afca769c18a40-00000009.p5.tissue-area.a0",
    "aliases/8c/8c81d952b6bdf93912c44cf29d0f9207317b3db5": "ending/187afca769477840-00000006.p5.tissue-area.a1.WORK.done",
    "aliases/92/92f1d4b1f2db062a93fb379376fc52404215adce": "waiting/7/187afca769e00ec0/187afca769e00ec0-0000000a.p7.tissue-area.a0",
    "aliases/94/945a066a4622957dbd9d2f3cf141c86b88997f32": "active/187afca769b24800-00000008.p5.tissue-area.a0.WEB",
    "aliases/a3/a31720185b64012db275fd3013123a82303a8d68": "active/187afca769848140-00000007.p5.tissue-area.a1.WORK",
    "aliases/bf/bfac4c1b84805ed77340b86b26ee0558e79d1d3c": "parked/187afcb5617f8e00.187afca7690a6f40-00000005.p5.tissue-area.a1",
    "aliases/de/de8f8000692fad0610d81a3bd917ff54907116bc": "waiting/5/187afca767d94240/187afca769c18a40-00000009.p5.tissue-area.a0",
}
