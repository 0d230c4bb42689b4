;; The two passes of Pillow's resizing: bytes × fixed-point weights, summed, rounded and clipped to bytes again; before them, colours weighed by alpha. Owns the arithmetic alone: what lies where,
;; and that all of it lies within the memory, is filter.ts's, which also says how the tables look.
;;
;; A weight has 22 bits behind the point and a few before it, too many for a product of 16 bits. So it comes in two, high × 4096 + low, and the one instruction
;; that multiplies and adds pairs of 16 bits (i32x4.dot_i16x8_s) runs once for each. All sums are modulo 2^32, as Pillow's are.
;;
;; `npm run wasm` writes filter-bytes.ts from this file.
(module
  (memory (export "memory") 1)

  ;; Four levels as i32, not yet clipped: (high × 4096 + low + 1/2) without what is behind the point.
  (func $level (param $high v128) (param $low v128) (result v128)
    (i32x4.shr_s
      (i32x4.add
        (i32x4.add (i32x4.shl (local.get $high) (i32.const 12)) (local.get $low))
        (v128.const i32x4 0x200000 0x200000 0x200000 0x200000)) ;; 1 << 21
      (i32.const 22)))

  ;; One line's colours × alpha / 255, rounded as Pillow's MULDIV255, in their place; alpha × 255 / 255 stays what it is. 16 bytes at a time.
  (func (export "weighLine")
    (param $line i32)
    (param $endLine i32)
    (param $alphas i32)     ;; a list of places that picks for each byte its pixel's alpha, and a mask that makes 255 of alpha's own
    (local $places v128) (local $own v128) (local $bytes v128) (local $alpha v128) (local $lower v128) (local $upper v128)
    (local.set $places (v128.load (local.get $alphas)))
    (local.set $own (v128.load offset=16 (local.get $alphas)))
    (loop $sixteens
      (local.set $bytes (v128.load (local.get $line)))
      (local.set $alpha (v128.or (i8x16.swizzle (local.get $bytes) (local.get $places)) (local.get $own)))
      (local.set $lower (call $div255 (i16x8.extmul_low_i8x16_u (local.get $bytes) (local.get $alpha))))
      (local.set $upper (call $div255 (i16x8.extmul_high_i8x16_u (local.get $bytes) (local.get $alpha))))
      (v128.store (local.get $line) (i8x16.narrow_i16x8_u (local.get $lower) (local.get $upper)))
      (local.set $line (i32.add (local.get $line) (i32.const 16)))
      (br_if $sixteens (i32.lt_u (local.get $line) (local.get $endLine)))))

  ;; Products of two bytes: (p + 128 + (p + 128) / 256) / 256, which 16 bits without a sign can hold.
  (func $div255 (param $products v128) (result v128)
    (local.set $products (i16x8.add (local.get $products) (v128.const i16x8 128 128 128 128 128 128 128 128)))
    (i16x8.shr_u (i16x8.add (local.get $products) (i16x8.shr_u (local.get $products) (i32.const 8))) (i32.const 8)))

  ;; One line, narrowed: an output pixel at a time, four of the line's pixels at a time.
  (func (export "filterLine")
    (param $line i32)       ;; the line's first byte that is looked at
    (param $narrow i32)     ;; where the outputs go
    (param $channels i32)
    (param $pairs i32)      ;; two lists of places that pick the first, then the second two of four pixels, channel by channel, each byte in 16 bits
    (param $begin i32)      ;; of each output: its first byte, counted from $line
    (param $endBegin i32)
    (param $weights i32)    ;; of each output: 16 bytes for four pixels: high high low low high high low low
    (param $weightBytes i32) ;; for one output
    (local $at i32) (local $step i32) (local $endWeights i32)
    (local $first v128) (local $second v128) (local $pixels v128) (local $pair v128) (local $high v128) (local $low v128)
    (local.set $first (v128.load (local.get $pairs)))
    (local.set $second (v128.load offset=16 (local.get $pairs)))
    (local.set $step (i32.shl (local.get $channels) (i32.const 2)))
    (loop $outputs
      (local.set $at (i32.add (local.get $line) (i32.load (local.get $begin))))
      (local.set $endWeights (i32.add (local.get $weights) (local.get $weightBytes)))
      (local.set $high (v128.const i32x4 0 0 0 0))
      (local.set $low (v128.const i32x4 0 0 0 0))
      (loop $pixels
        (local.set $pixels (v128.load (local.get $at)))
        (local.set $pair (i8x16.swizzle (local.get $pixels) (local.get $first)))
        (local.set $high
          (i32x4.add (local.get $high) (i32x4.dot_i16x8_s (local.get $pair) (v128.load32_splat (local.get $weights)))))
        (local.set $low
          (i32x4.add (local.get $low) (i32x4.dot_i16x8_s (local.get $pair) (v128.load32_splat offset=4 (local.get $weights)))))
        (local.set $pair (i8x16.swizzle (local.get $pixels) (local.get $second)))
        (local.set $high
          (i32x4.add (local.get $high) (i32x4.dot_i16x8_s (local.get $pair) (v128.load32_splat offset=8 (local.get $weights)))))
        (local.set $low
          (i32x4.add (local.get $low) (i32x4.dot_i16x8_s (local.get $pair) (v128.load32_splat offset=12 (local.get $weights)))))
        (local.set $at (i32.add (local.get $at) (local.get $step)))
        (local.set $weights (i32.add (local.get $weights) (i32.const 16)))
        (br_if $pixels (i32.lt_u (local.get $weights) (local.get $endWeights))))
      (local.set $pair (call $level (local.get $high) (local.get $low)))
      (local.set $pair (i16x8.narrow_i32x4_s (local.get $pair) (local.get $pair)))
      ;; Always four bytes: the next output writes over those that aren't its own.
      (v128.store32_lane 0 (local.get $narrow) (i8x16.narrow_i16x8_u (local.get $pair) (local.get $pair)))
      (local.set $narrow (i32.add (local.get $narrow) (local.get $channels)))
      (local.set $begin (i32.add (local.get $begin) (i32.const 4)))
      (br_if $outputs (i32.lt_u (local.get $begin) (local.get $endBegin)))))

  ;; The lines, squeezed together: an output line at a time, of it 16 bytes at a time, two lines at a time.
  (func (export "filterLines")
    (param $narrow i32)
    (param $square i32)     ;; where the outputs go
    (param $lineBytes i32)
    (param $begin i32)      ;; of each output line: its first line's first byte, counted from $narrow
    (param $endBegin i32)
    (param $weights i32)    ;; of each output line: 8 bytes for two lines: high high low low
    (param $weightBytes i32) ;; for one output line
    (local $at i32) (local $byte i32) (local $weight i32) (local $endWeights i32)
    (local $upper v128) (local $lower v128) (local $pair v128) (local $highs v128) (local $lows v128)
    (local $high0 v128) (local $high1 v128) (local $high2 v128) (local $high3 v128)
    (local $low0 v128) (local $low1 v128) (local $low2 v128) (local $low3 v128)
    (loop $outputs
      (local.set $endWeights (i32.add (local.get $weights) (local.get $weightBytes)))
      (local.set $byte (i32.const 0))
      (loop $bytes
        (local.set $high0 (v128.const i32x4 0 0 0 0)) (local.set $low0 (v128.const i32x4 0 0 0 0))
        (local.set $high1 (v128.const i32x4 0 0 0 0)) (local.set $low1 (v128.const i32x4 0 0 0 0))
        (local.set $high2 (v128.const i32x4 0 0 0 0)) (local.set $low2 (v128.const i32x4 0 0 0 0))
        (local.set $high3 (v128.const i32x4 0 0 0 0)) (local.set $low3 (v128.const i32x4 0 0 0 0))
        (local.set $at (i32.add (i32.add (local.get $narrow) (local.get $byte)) (i32.load (local.get $begin))))
        (local.set $weight (local.get $weights))
        (loop $lines
          (local.set $upper (v128.load (local.get $at)))
          (local.set $at (i32.add (local.get $at) (local.get $lineBytes)))
          (local.set $lower (v128.load (local.get $at)))
          (local.set $at (i32.add (local.get $at) (local.get $lineBytes)))
          (local.set $highs (v128.load32_splat (local.get $weight)))
          (local.set $lows (v128.load32_splat offset=4 (local.get $weight)))
          ;; Bytes of both lines that stand one above the other, side by side.
          (local.set $pair
            (i8x16.shuffle 0 16 1 17 2 18 3 19 4 20 5 21 6 22 7 23 (local.get $upper) (local.get $lower)))
          (local.set $upper
            (i8x16.shuffle 8 24 9 25 10 26 11 27 12 28 13 29 14 30 15 31 (local.get $upper) (local.get $lower)))
          (local.set $lower (i16x8.extend_low_i8x16_u (local.get $pair)))
          (local.set $high0 (i32x4.add (local.get $high0) (i32x4.dot_i16x8_s (local.get $lower) (local.get $highs))))
          (local.set $low0 (i32x4.add (local.get $low0) (i32x4.dot_i16x8_s (local.get $lower) (local.get $lows))))
          (local.set $lower (i16x8.extend_high_i8x16_u (local.get $pair)))
          (local.set $high1 (i32x4.add (local.get $high1) (i32x4.dot_i16x8_s (local.get $lower) (local.get $highs))))
          (local.set $low1 (i32x4.add (local.get $low1) (i32x4.dot_i16x8_s (local.get $lower) (local.get $lows))))
          (local.set $lower (i16x8.extend_low_i8x16_u (local.get $upper)))
          (local.set $high2 (i32x4.add (local.get $high2) (i32x4.dot_i16x8_s (local.get $lower) (local.get $highs))))
          (local.set $low2 (i32x4.add (local.get $low2) (i32x4.dot_i16x8_s (local.get $lower) (local.get $lows))))
          (local.set $lower (i16x8.extend_high_i8x16_u (local.get $upper)))
          (local.set $high3 (i32x4.add (local.get $high3) (i32x4.dot_i16x8_s (local.get $lower) (local.get $highs))))
          (local.set $low3 (i32x4.add (local.get $low3) (i32x4.dot_i16x8_s (local.get $lower) (local.get $lows))))
          (local.set $weight (i32.add (local.get $weight) (i32.const 8)))
          (br_if $lines (i32.lt_u (local.get $weight) (local.get $endWeights))))
        ;; Always 16 bytes: the next line writes over those that aren't its own.
        (v128.store (i32.add (local.get $square) (local.get $byte))
          (i8x16.narrow_i16x8_u
            (i16x8.narrow_i32x4_s (call $level (local.get $high0) (local.get $low0)) (call $level (local.get $high1) (local.get $low1)))
            (i16x8.narrow_i32x4_s (call $level (local.get $high2) (local.get $low2)) (call $level (local.get $high3) (local.get $low3)))))
        (local.set $byte (i32.add (local.get $byte) (i32.const 16)))
        (br_if $bytes (i32.lt_u (local.get $byte) (local.get $lineBytes))))
      (local.set $square (i32.add (local.get $square) (local.get $lineBytes)))
      (local.set $weights (local.get $endWeights))
      (local.set $begin (i32.add (local.get $begin) (i32.const 4)))
      (br_if $outputs (i32.lt_u (local.get $begin) (local.get $endBegin)))))
)
