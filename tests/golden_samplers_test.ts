/** Timestep samplers against the original's numbers. */
import { assertEquals } from "@std/assert";
import { LossSecondMomentSampler, UniformSampler } from "../diffusion/mod.ts";
import { goldenTest } from "./fixtures.ts";
import { assertClose, Golden } from "./golden_diffusion_test_util.ts";

interface Samplers {
  num_timesteps: number;
  history_per_term: number;
  uniform_prob: number;
  stages: { round: number; warmed_up: boolean }[];
}

const FILES = ["samplers/samplers.json", "samplers/samplers.safetensors"];

goldenTest("the loss-second-moment sampler learns as the original's", FILES, async () => {
  const golden = await Golden.load<Samplers>("samplers/samplers");
  const { num_timesteps, history_per_term, uniform_prob, stages } = golden.json;
  const sampler = new LossSecondMomentSampler(num_timesteps, {
    historyPerTerm: history_per_term,
    uniformProb: uniform_prob,
  });
  assertEquals([...sampler.weights()], [...golden.values("weights/0")]);
  for (const { round, warmed_up } of stages) {
    const update = `update/${round - 1}`;
    sampler.update(golden.integers(`${update}/t`), golden.values(`${update}/loss`));
    assertEquals(sampler.warmedUp, warmed_up);
    assertClose(`weights/${round}`, sampler.weights(), golden.values(`weights/${round}`), 1e-14);
    const { history } = sampler.state();
    assertEquals(history.map((losses) => losses.length), golden.integers(`counts/${round}`));
    const padded = history.flatMap((losses) => [
      ...losses,
      ...new Array<number>(history_per_term - losses.length).fill(0),
    ]);
    assertEquals(padded, [...golden.values(`history/${round}`)]);
  }
  const { timesteps, weights } = sampler.sample(16, golden.values("sample/uniforms"));
  assertEquals(timesteps, golden.integers("sample/indices"));
  assertClose("sample/weights", weights, golden.values("sample/weights"), 1e-7);
});

goldenTest("the uniform sampler draws as the original's", FILES, async () => {
  const golden = await Golden.load<Samplers>("samplers/samplers");
  const sampler = new UniformSampler(golden.json.num_timesteps);
  assertEquals([...sampler.weights()], [...golden.values("uniform/weights")]);
  const { timesteps, weights } = sampler.sample(16, golden.values("sample/uniforms"));
  assertEquals(timesteps, golden.integers("uniform/indices"));
  assertClose("weights", weights, golden.values("uniform/sample_weights"), 1e-7);
});
