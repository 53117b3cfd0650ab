/** Timestep samplers against the original's numbers. */
import { assertEquals } from "@std/assert";
import { LossSecondMomentSampler, UniformSampler } from "../diffusion/mod.ts";
import { goldenTest } from "./fixtures.ts";
import { assertScaled, Golden, goldenJson } from "./goldens.ts";

interface Samplers {
  num_timesteps: number;
  history_per_term: number;
  uniform_prob: number;
  stages: { round: number; warmed_up: boolean }[];
}

const FILES = ["samplers/samplers.json", "samplers/samplers.safetensors"] as const;

goldenTest("the loss-second-moment sampler learns as the original's", FILES, async () => {
  const golden = await Golden.load(FILES[1]);
  const { num_timesteps, history_per_term, uniform_prob, stages } = await goldenJson<Samplers>(
    FILES[0],
  );
  const sampler = new LossSecondMomentSampler(num_timesteps, {
    historyPerTerm: history_per_term,
    uniformProb: uniform_prob,
  });
  assertEquals([...sampler.weights()], [...golden.doubles("weights/0")]);
  for (const { round, warmed_up } of stages) {
    const update = `update/${round - 1}`;
    sampler.update(golden.integers(`${update}/t`), golden.doubles(`${update}/loss`));
    assertEquals(sampler.warmedUp, warmed_up);
    assertScaled(`weights/${round}`, sampler.weights(), golden.doubles(`weights/${round}`), 1e-14);
    const { history } = sampler.state();
    assertEquals(history.map((losses) => losses.length), golden.integers(`counts/${round}`));
    const padded = history.flatMap((losses) => [
      ...losses,
      ...new Array<number>(history_per_term - losses.length).fill(0),
    ]);
    assertEquals(padded, [...golden.doubles(`history/${round}`)]);
  }
  const { timesteps, weights } = sampler.sample(16, golden.doubles("sample/uniforms"));
  assertEquals(timesteps, golden.integers("sample/indices"));
  assertScaled("sample/weights", weights, golden.doubles("sample/weights"), 1e-7);
});

goldenTest("the uniform sampler draws as the original's", FILES, async () => {
  const golden = await Golden.load(FILES[1]);
  const { num_timesteps } = await goldenJson<Samplers>(FILES[0]);
  const sampler = new UniformSampler(num_timesteps);
  assertEquals([...sampler.weights()], [...golden.doubles("uniform/weights")]);
  const { timesteps, weights } = sampler.sample(16, golden.doubles("sample/uniforms"));
  assertEquals(timesteps, golden.integers("uniform/indices"));
  assertScaled("weights", weights, golden.doubles("uniform/sample_weights"), 1e-7);
});
