export * from './wavelog-worker.js';
