import { assertEquals } from "@std/assert";
import { diskTest } from "../../../tests/fixtures.ts";
import { runOf } from "../../run/find.ts";
import { VAE_KIND } from "./vae_trainee.ts";

diskTest("a former checkpoint continues its folder, and none of others", async (folder) => {
  const path = `${folder}/training.safetensors`;
  const write = (name: string, text: string) => Deno.writeTextFile(`${folder}/${name}`, text);
  const isIts = async () => await runOf(path, VAE_KIND) !== undefined;
  const autoencoder = JSON.stringify({ _class_name: "AutoencoderKL" });
  await write("training.safetensors", "");
  assertEquals(await isIts(), true, "a run that was ended before it had measured anything");
  await write("config.json", autoencoder);
  assertEquals(await isIts(), false, "an autoencoder that was not trained there");
  await write("metrics.jsonl", '{"step":1,"loss":1,"kl":1}\n');
  assertEquals(await isIts(), true);
  for (const line of ['{"step":1,"loss":1}', "1", "none"]) {
    await write("metrics.jsonl", `${line}\n`);
    assertEquals(await isIts(), false, `metrics of others: ${line}`);
  }
  await write("metrics.jsonl", '{"step":1,"loss":1,"kl":1}\n');
  await write("config.json", "{}");
  assertEquals(await isIts(), false, "a configuration of others");
  await write("config.json", autoencoder);
  await write("report.html", "");
  assertEquals(await isIts(), false, "a page of others");
  await write("run.json", '{"trainee":"autoencoder","settings":{},"model":{}}');
  assertEquals(await isIts(), true, "a run that has been continued");
});
