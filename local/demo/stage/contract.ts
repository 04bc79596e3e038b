import type { World } from './world.ts';

/** What later steps need of earlier ones. */
export type Story = {
  /** The account that a person connects. */
  credentialId: string;
  /** What the subscriber checks deliveries with. */
  webhookSecret: string;
};

/** One act of the demo. It resolves to lines that say what it showed, and throws when that is not so. */
export type Step = { title: string; run(world: World, story: Story): Promise<string[]> };
