import { assertEquals } from "@std/assert";
import { timestepFrequencies } from "./positions.ts";

/**
 * The bits of `torch.exp(-math.log(10000) * torch.arange(0, 128, dtype=torch.float32) / 128)` in
 * PyTorch 1.13 with `ATEN_CPU_CAPABILITY=default`. Its vectorised exp is one unit in the last place
 * away at 15 of them.
 */
const FREQUENCIES = `
  3f800000 3f6e39f8 3f5dafd6 3f4e4bac 3f3ff911 3f32a506 3f263de0 3f1ab32b
  3f0ff59a 3f05f6ee 3ef953ce 3ee80460 3ed7e89a 3ec8eb23 3ebaf81b 3eadfcff
  3ea1e89b 3e96aaea 3e8c3503 3e827908 3e72d422 3e61f836 3e5247ed 3e43ae7c
  3e361887 3e297409 3e1db03f 3e12bd90 3e088d77 3dfe24df 3dec7fd5 3ddc1464
  3dcccccc 3dbe94c7 3db15978 3da50957 3d99940d 3d8eea6c 3d84fe4c 3d778511
  3d6655c1 3d5657e3 3d477640 3d399d18 3d2cba15 3d20bc1b 3d159348 3d0b30cb
  3d0186e2 3cf11177 3ce054d1 3cd0c1a8 3cc2434e 3cb4c691 3ca83989 3c9c8b96
  3c91ad39 3c879009 3c7c4d30 3c6ac8e6 3c5a7bf1 3c4b50b5 3c3d330e 3c301050
  3c23d70a 3c187706 3c0de12e 3c040777 3bf5b9ad 3be4aa45 3bd4ca15 3bc6040a
  3bb8449a 3bab7982 3b9f91cc 3b947daf 3b8a2e75 3b80967c 3b6f520d 3b5eb47a
  3b4f3e33 3b40dac2 3b33770d 3b270153 3b1b690d 3b109ed8 3b06946d 3afa78f0
  3ae91528 3ad8e675 3ac9d759 3abbd3eb 3aaec98e 3aa2a6f7 3a975c0b 3a8cd9d9
  3a83126e 3a73f1a2 3a6301e3 3a533f24 3a44948a 3a36ee9d 3a2a3b44 3a1e69a2
  3a136a14 3a092e01 39ff4fac 39ed95e4 39dd1721 39cdbd93 39bf74d6 39b229fb
  39a5cb61 399a48a0 398f9275 39859aa4 3978a80d 3967648c 395753e2 394860bf
  393a7753 392d852a 39217919 39164326 390bd46d 39021f28 38f22cdd 38e15c8e
`;

Deno.test("timestep frequencies are PyTorch's, bit for bit", () => {
  const bits = new Uint32Array(timestepFrequencies(256).buffer);
  const hex = Array.from(bits, (word) => word.toString(16));
  assertEquals(hex, FREQUENCIES.trim().split(/\s+/));
});
